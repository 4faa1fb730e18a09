// Package pjl speaks HP's Printer Job Language as far as a print stream needs it: commands that frame a job and ask for the
// printer's state, and what a printer sends back.
//
// The sources are HP's "Printer Job Language Technical Reference Manual" (5021-0380, cited as HP with its chapter) and its
// addendum, and the PJL chapter of Lexmark's "Technical Reference" (cited as Lexmark with its table), whose printers share the
// codes. Codes that neither has are told by their group alone (HP, appendix D, "Status Code Groupings").
//
// What a printer sends is hostile: a Parser keeps at most one message of MaxLines lines of MaxLine bytes, never fails, and starts
// anew at each form feed and at each line that begins with @PJL. What is between messages, as PostScript's own answers, is left out.
package pjl
