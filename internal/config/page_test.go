package config

import "testing"

// A page that nothing would serve is an error at its line.
func TestPage(t *testing.T) {
	const on, listens = "config globals\n option page '1'\n", "config metrics\n option enabled '1'\n"
	unserved := `option 'page' in section '@globals[0]' (roam6:2:14): "1": expected 0, or a section metrics with option enabled '1': its listener serves the page`
	served := ""
	if !pageBuilt {
		unserved = `option 'page' in section '@globals[0]' (roam6:2:14): "1": expected 0: this roam6 was built without the page (tag nopage or nometrics)`
		served = unserved
	}
	for _, tt := range []struct{ text, want string }{
		{on + listens, served},
		{on, unserved},
		{on + "config metrics\n option enabled '0'\n", unserved},
		{"config globals\n option page '0'\n", ""},
		{listens, ""},
	} {
		c, err := Parse("roam6", []byte(tt.text))
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != tt.want || err == nil && c.Globals.Page != (tt.text == on+listens) {
			t.Errorf("%q: %q, want %q", tt.text, got, tt.want)
		}
	}
}
