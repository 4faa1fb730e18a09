// Package console is the region's pages for its operators: gateways, their devices with what they last said, and a device's
// alerts and counters. Other screens of a gateway get an entry of their own in its navigation.
//
// It promises pages that need no script, show nothing unescaped of what devices and gateways say, and change nothing on GET. The
// one change, deleting a device, is a form that a foreign site cannot send, under the entity tag of the version that was
// shown. It knows no store and no accounts: the server gives it the API's own reads, and lets only operators through. What a read
// refuses becomes a page with the same status; a template that fails becomes a plain 500, never half a page.
package console
