// Package devicename carries the name of a device from an inner gateway to the outer one that it dials through.
//
// Between the two stands one header, an RFC 8941 item whose signature covers the request it came with:
//
//	Mfpgate-Device: "dev_01J...";created=1700000000;key="branch-7";sig=:base64:
//
// sig is HMAC-SHA256 with the key of the inner gateway's account over the length-prefixed words version, method, authority,
// device, created and account. The outer gateway believes a header only with a good signature that is at most 60 seconds
// old or ahead, and only for the account that the request itself authenticated as. It may be presented again within that
// time for the same request; who can see it to do so is on the path that carries the account's password too.
//
// Verify refuses everything else with ErrMalformed, ErrSignature or ErrStale. The key is a secret that both ends hold; the
// header says nothing of how they came by it.
package devicename
