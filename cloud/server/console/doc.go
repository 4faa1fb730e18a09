// Package console is the region's pages for its operators: gateways, their devices with what they last said, a device's alerts and
// counters, and a gateway's delivery schedule: its time line, the warnings of overloads with the deliveries to adjust, the gateway's
// proposals, and the form of one delivery. Each has an entry in the gateway's navigation.
//
// It promises pages that need no script, show nothing unescaped of what devices and gateways say, are bounded whatever there is and
// say what they leave out, and change nothing on GET. What changes something is a form that a foreign site cannot send, under the entity
// tag of the version that was shown: where that has changed since, the page says what is different and keeps what was typed. Times of
// a schedule are those of the contract's zone. No page plans against the capacity: a start that would overload is not saved, and others
// are offered.
//
// It knows no store and no accounts: the server gives it the API's own operations, and lets only operators through. What a read
// refuses becomes a page with the same status; a template that fails becomes a plain 500, never half a page.
package console
