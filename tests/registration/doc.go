// Package registration shows how a user gets to print on a device by a cloud print service, with nothing but real programs: the gateway,
// four regions, simulated MFPs that register themselves, a mail server, and people's browsers. Who asks, who approves, what is mailed to
// whom and what stands in the service at the end is looked at from outside.
//
// Between the regions and everybody else stands a front that notes what is certified and can be away.
// It has no code but tests. With SCREENSHOT_DIR set they leave pictures of the pages there.
package registration
