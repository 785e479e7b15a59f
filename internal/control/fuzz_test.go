package control

import (
	"bytes"
	"testing"
	"testing/iotest"
)

// Whatever a client sends is a question or an error, also octet by octet.
func FuzzRequest(f *testing.F) {
	for _, s := range []string{
		`{"show":"bindings"}` + "\n", `{"reload":true}` + "\n", `{"ping":true}`, "", "\n", "{", `{"show":"` + "\xff\"}\n", `[1,2]` + "\n",
		`{"show":"a","show":"b"}` + "\n", "null\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		whole, err := readRequest(bytes.NewReader(b))
		bitwise, err2 := readRequest(iotest.OneByteReader(bytes.NewReader(b)))
		if whole != bitwise || (err == nil) != (err2 == nil) {
			t.Errorf("%+v, %v at once; %+v, %v octet by octet", whole, err, bitwise, err2)
		}
		if err == nil && whole == (request{}) {
			t.Error("a question that asks nothing")
		}
	})
}
