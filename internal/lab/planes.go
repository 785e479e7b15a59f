package lab

import (
	"os"
	"regexp"
	"slices"
)

// planeLine is what a daemon logs when its data plane is open.
var planeLine = regexp.MustCompile(`msg="data plane is up" engine=(\w+)`)

// planes are the data planes that the daemons have used, each once.
func (s *stage) planes() (names []string) {
	for _, d := range s.crew {
		if d.program.path != "" {
			continue
		}
		text, err := os.ReadFile(d.log.Name())
		if err != nil {
			continue // the table says less
		}
		for _, m := range planeLine.FindAllSubmatch(text, -1) {
			names = append(names, string(m[1]))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
