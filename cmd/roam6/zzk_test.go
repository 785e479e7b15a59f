package main

import "os/exec"

func (e *estate) show(node string, args ...string) {
	_ = e.world.Space(node).Do(func() error {
		out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
		e.Logf("%s %v: %v\n%s", node, args, err, out)
		return nil
	})
}
