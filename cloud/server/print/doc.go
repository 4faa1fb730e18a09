// Package print is the reference print service of a region: administrators allow devices and their users, devices are entered
// as printers with a certificate of their own.
//
// It is an authorization server of the device flow (RFC 8628, with the metadata of RFC 8414 and PKCE of RFC 7636), the pages on
// which an administrator types a code and decides, a directory of users who confirm their mail address, and an API that enters
// printers.
//
// What it promises. A code is redeemed once: approved becomes consumed and the token comes to be in one transaction that is on
// disk before anybody is answered. Whoever lost that answer gets it again, byte for byte, for ReplayWindow with the same code
// verifier. A code that has expired is expired, approved or not. Who obeys slow_down is served: a poll that comes too early
// raises the interval and moves nothing else, and who asks after a decision is never told to slow down. A device is one printer,
// by its UUID, however often it is registered. No GET changes anything, whoever opens a link that was mailed or shown. Of two
// administrators the first decides. What a decision leads to (certificates, letters) happens though the server is killed
// (store/journal), and each decision stands in an audit chain.
//
// What it refuses. The page fills in no code and ticks no user: an administrator types the one and chooses the other. Wrong
// codes are counted per administrator, per address and over all, before they are looked up; a right one takes back only itself.
// Letters go only to users that an administrator chose. A token holds for the device, printer, scope and users of its approval.
// Of a certificate request only the key is used. Codes per address, printers, users, operations, event streams and letters are
// bounded.
//
// How it fails. The OAuth endpoints answer RFC 6749's errors, the API RFC 9457 problems, pages a page with one sentence. Codes,
// tokens and links are kept as HMAC, an answer that may be repeated sealed (store/seal); without the key all of them are void.
// How fast a client polls is kept in memory: a restart forgives. A denial outlives its code's time, so that it is told; an ended
// code is forgotten after a day, and is invalid_grant then.
//
// It differs from the region's own API in that printers have no entity tags: a grant is for one device, so that nobody else
// changes it but an administrator.
package print
