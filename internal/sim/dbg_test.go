package sim
import ("testing";"math/rand/v2";"strconv";"os")
func TestDbg(t *testing.T) {
	seed, _ := strconv.ParseUint(os.Getenv("SEED"), 10, 64)
	r := rand.New(rand.NewPCG(seed, 1))
	var p Plan
	switch os.Getenv("PLAN") {
	case "nested": p = Plan{
			Cells: 2, Agents: 1 + r.IntN(2), Routers: 2 + r.IntN(3), Hosts: r.IntN(2), Correspondents: r.IntN(2),
			Delegation: r.IntN(2) == 0, Managed: r.IntN(4) == 0, Nested: true,
		}
	}
	w, _ := play(seed, p, Ride{Steps: 30}, t.Logf)
	t.Log(w.failures)
}
