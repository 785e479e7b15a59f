package report

import (
	"strings"
	"testing"
)

func TestFloodTable(t *testing.T) {
	answers := make([]Milliseconds, 0, 10)
	for i := range 10 {
		answers = append(answers, Milliseconds(i+1))
	}
	s := NewService("home BU", 20, answers)
	if s.Share() != .5 || s.Median != 5.5 || s.P99 != 10 {
		t.Errorf("service %+v", s)
	}
	if none := NewService("CoTI", 0, nil); none.Share() != 1 || none.Median.Known() {
		t.Errorf("nothing asked: %+v", none)
	}
	r := Report{Floods: []Flood{
		{Kind: "HoTI", Sources: "many", PerSecond: 99312, Answers: 1993, Before: 14_700, Peak: 21_600, After: 21_500, Processor: .54,
			Services: []Service{s, NewService("CoTI", 3, nil)}, DataSent: 1000, DataLost: 7, Recovered: 43.4},
	}}
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"memory, MB", "home BU", "CoTI",
		"HoTI  many       99312 1993     14.7 21.6  21.5   54 %     50.0 % 5.5 10.0      0.0 %   –   –   7 of 1000        43.4",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the table lacks %q:\n%s", want, b.String())
		}
	}
	if b.Reset(); (&Report{}).WriteTable(&b) != nil || strings.Contains(b.String(), "memory") {
		t.Errorf("without floods:\n%s", b.String())
	}
}
