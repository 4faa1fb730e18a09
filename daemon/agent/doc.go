// Package agent is the door for devices that register themselves in a print service (mode agent): below /device/v1, on the portal's
// port, each of them learns what it is asked to do, with the user and the administrator, and says how it ends.
//
// A device asks by a GET that is held back for up to 60 s while there is nothing new, or keeps one open as a stream of server-sent
// events. Asking changes nothing: a request stays until its result, and the entity tag of the answer says whether there is
// anything new. A result may be sent again; another one after the end is refused.
//
// It refuses everybody but devices. Who sends an account of relay.accounts is the device of that account, if the password is right;
// who sends none is the device that the configuration names at exactly that address without an account; nobody is a device
// otherwise. Guessing is slowed down by source. A device sees its own requests alone, and of others not even that they exist. A page
// in a browser can ask nothing here: a change needs JSON, an Idempotency-Key and no foreign origin.
//
// One request of each device waits at a time, the newest, and MaxWaiting in all: beyond that polls are answered at once, with the
// time after which to come again, and streams are refused. Errors are RFC 9457 problems; what fails inside is logged here and
// not told.
package agent
