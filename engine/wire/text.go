package wire

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// cleanText makes s fit for a text field: valid UTF-8 without control characters, so
// that it can stand in a log line as it is, and of at most limit bytes, cut between
// characters. What cannot stay becomes a question mark.
func cleanText(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

// checkText says why b, from a peer, is not what cleanText would leave alone.
func checkText(name string, b []byte, limit int) error {
	if len(b) > limit {
		return malformed("%s of %d bytes; at most %d are allowed", name, len(b), limit)
	}
	if !utf8.Valid(b) {
		return malformed("%s %q is not UTF-8", name, b)
	}
	for _, r := range string(b) {
		if unicode.IsControl(r) {
			return malformed("%s %q holds the control character %U; none are allowed", name, b, r)
		}
	}
	return nil
}
