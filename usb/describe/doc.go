// Package describe asks a printer what is published of it: over IPP for the printer (Get-Printer-Attributes, of a dozen attributes
// alone: some office printers need minutes for all), over eSCL for its scanner.
//
// Answers are hostile: at most 1 MiB, 64 values of an attribute, texts cut at 255 bytes and without control characters. What is not
// said stays empty. ErrNotIPP means that there is a web server and no IPP printer behind it, which is not mended by asking again;
// every other error may be.
package describe
