// Package browser has the tests that drive the portal with a real browser, Debian's chromium.
//
// testdata/axe.min.js is axe-core 4.14.1 (MPL-2.0, see testdata/axe.LICENSE). It is used unchanged, by these tests alone, and
// is no part of the product. With SCREENSHOT_DIR set the tests leave pictures there.
package browser
