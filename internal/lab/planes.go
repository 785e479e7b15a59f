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
		names = append(names, d.planes()...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// plane is the data plane of a node's daemon; empty: it has none, or its log cannot be
// read.
func (s *stage) plane(node string) string {
	if d := s.daemon(node); d != nil {
		if all := d.planes(); len(all) > 0 {
			return all[len(all)-1]
		}
	}
	return ""
}

// planes are the data planes that a daemon has opened, one for each time it started.
func (d *daemon) planes() (names []string) {
	if d.program.path != "" {
		return nil
	}
	text, err := os.ReadFile(d.log.Name())
	if err != nil {
		return nil // the table says less
	}
	for _, m := range planeLine.FindAllSubmatch(text, -1) {
		names = append(names, string(m[1]))
	}
	return names
}
