package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vishvananda/netlink"

	"roam6/internal/lab/netns"
	labworld "roam6/internal/lab/world"
	"roam6/internal/metrics/contribtest"
)

// watch is Debian's Prometheus, which scrapes the daemons of an estate over a network of
// its own, so that it also sees those that are cut off, as an agent on the vehicle does.
type watch struct {
	*estate
	space   *netns.Space
	client  http.Client
	targets string   // file
	patient string   // file of the targets for which there is time
	nodes   []string // in the order of their networks
	log     string

	last  time.Time           // of the look at the alerts
	fired map[string][]string // names of alerts, by instance
}

// watchNetwork is where a node listens for Prometheus.
func watchNetwork(i int, host byte) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom16([16]byte{0xfd, 5: byte(i + 1), 15: host}), 64)
}

// The alerts of contrib hold for so many times less long, and look back for so many times
// less: minutes become seconds. What is scraped every 15 s is scraped every 400 ms, so that
// a range has as many samples as in the field, or more.
// Only an endpoint that has to wait for its daemon, as two seconds at most, has more time,
// as it has in the field.
const (
	haste    = 60
	scraping = "400ms"
	patience = "3s"
)

// newWatch connects nodes with a namespace for Prometheus. It is started by begin.
func (e *estate) newWatch(nodes ...string) *watch {
	e.Helper()
	space, err := netns.New("watch")
	e.must(err)
	e.Cleanup(space.Close)
	w := &watch{estate: e, space: space, nodes: nodes, targets: filepath.Join(e.state, "targets.json"), patient: filepath.Join(e.state, "patient.json"), log: filepath.Join(e.state, "prometheus.log"), fired: map[string][]string{}}
	w.client = http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (c net.Conn, err error) {
		err = space.Do(func() (err error) {
			c, err = net.DialTimeout("tcp", "[::1]:9090", 5*time.Second)
			return err
		})
		return c, err
	}}}
	lo, err := space.Link.LinkByName("lo")
	e.must(err)
	e.must(space.Link.LinkSetUp(lo))
	for i, node := range nodes {
		end := e.world.Space(node)
		name := "to" + node
		e.must(space.Link.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: name, Index: 2000 + i, TxQLen: -1},
			PeerName:  "watch0", PeerTxQLen: -1, PeerNamespace: netlink.NsFd(end.FD()),
		}))
		for s, ifname := range map[*netns.Space]string{space: name, end: "watch0"} {
			link, err := s.Link.LinkByName(ifname)
			e.must(err)
			e.must(s.Link.LinkSetUp(link))
		}
		e.must(labworld.AddAddress(space, name, watchNetwork(i, 1)))
		e.must(labworld.AddAddress(end, "watch0", watchNetwork(i, 2)))
	}
	return w
}

// metrics is the section of a node.
func (w *watch) metrics(node string) string {
	a := watchNetwork(slices.Index(w.nodes, node), 2).Addr()
	return fmt.Sprintf("config metrics\n\toption enabled '1'\n\toption listen_address '%s'\n", a)
}

// scrape sets which nodes Prometheus knows of.
func (w *watch) scrape(nodes ...string) {
	w.Helper()
	w.list(w.targets, nodes...)
}

// scrapePatiently takes a node out of the others, and waits long for its answers.
func (w *watch) scrapePatiently(node string) {
	w.Helper()
	w.list(w.patient, node)
	w.scrape(slices.DeleteFunc(slices.Clone(w.nodes), func(n string) bool { return n == node })...)
	w.until("Prometheus has time for "+node, func() bool {
		return w.value("up{scraped='patiently'} and on (instance) roam6_mobiles{scraped='patiently'}", node) == 1
	})
}

// list writes a file of targets.
func (w *watch) list(file string, nodes ...string) {
	w.Helper()
	type group struct {
		Targets []string          `json:"targets"`
		Labels  map[string]string `json:"labels"`
	}
	groups := []group{}
	for _, n := range nodes {
		a := watchNetwork(slices.Index(w.nodes, n), 2).Addr()
		groups = append(groups, group{[]string{netip.AddrPortFrom(a, 9706).String()}, map[string]string{"job": "roam6", "instance": n}})
	}
	b, err := json.Marshal(groups)
	w.must(err)
	w.must(os.WriteFile(file+".new", b, 0o600))
	w.must(os.Rename(file+".new", file))
}

// begin starts Prometheus with the hastened alerts.
func (w *watch) begin() {
	w.Helper()
	rules, err := os.ReadFile("../../contrib/prometheus/alerts.yml")
	w.must(err)
	file := filepath.Join(w.state, "alerts.yml")
	w.must(os.WriteFile(file, []byte(contribtest.Hasten(string(rules), haste)), 0o600))
	config := filepath.Join(w.state, "prometheus.yml")
	w.must(os.WriteFile(config, fmt.Appendf(nil, `global:
  scrape_interval: %[1]s
  scrape_timeout: %[1]s
  evaluation_interval: %[1]s
rule_files: ['%[2]s']
scrape_configs:
  - job_name: roam6
    file_sd_configs: [{files: ['%[3]s'], refresh_interval: 1s}]
  - job_name: patient
    scrape_interval: %[4]s
    scrape_timeout: %[4]s
    file_sd_configs: [{files: ['%[5]s'], refresh_interval: 1s}]
    relabel_configs: [{target_label: scraped, replacement: patiently}]
`, scraping, file, w.targets, patience, w.patient), 0o600))
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(w.state, "tsdb"), "--web.listen-address=[::1]:9090", "--log.level=warn")
	log, err := os.Create(w.log)
	w.must(err)
	defer log.Close()
	cmd.Stdout, cmd.Stderr = log, log
	w.must(w.space.Do(cmd.Start))
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	w.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if b, err := os.ReadFile(w.log); err == nil && w.Failed() {
			w.Logf("prometheus:\n%s", b)
		}
	})
	w.until("Prometheus answers", func() bool {
		_, err := w.ask("1")
		return err == nil
	})
}

// get asks Prometheus's API.
func (w *watch) get(path string, data any) error {
	r, err := w.client.Get("http://prometheus/api/v1/" + path)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	var answer struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.NewDecoder(r.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", r.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", r.Status, answer.Error)
	}
	return json.Unmarshal(answer.Data, data)
}

// sample is one of the answer to a query.
type sample struct {
	Metric map[string]string
	value  float64
}

// ask evaluates an expression now.
func (w *watch) ask(expr string) ([]sample, error) {
	var data struct {
		ResultType string
		Result     json.RawMessage
	}
	if err := w.get("query?query="+url.QueryEscape(expr), &data); err != nil || data.ResultType != "vector" {
		return nil, err
	}
	var vector []struct {
		Metric map[string]string
		Value  [2]any
	}
	if err := json.Unmarshal(data.Result, &vector); err != nil {
		return nil, err
	}
	var samples []sample
	for _, x := range vector {
		v, err := strconv.ParseFloat(fmt.Sprint(x.Value[1]), 64)
		if err != nil {
			return nil, err
		}
		samples = append(samples, sample{x.Metric, v})
	}
	return samples, nil
}

// value is that of a metric at a node, NaN if there is none.
func (w *watch) value(expr, node string) float64 {
	samples, err := w.ask(expr)
	if err != nil {
		return math.NaN()
	}
	for _, s := range samples {
		if s.Metric["instance"] == node {
			return s.value
		}
	}
	return math.NaN()
}

// alert is one that Prometheus knows of.
type alert struct {
	Labels, Annotations map[string]string
	State               string
}

// firing asks which alerts are firing now.
func (w *watch) firing() ([]alert, error) {
	var data struct{ Alerts []alert }
	err := w.get("alerts", &data)
	return slices.DeleteFunc(data.Alerts, func(a alert) bool { return a.State != "firing" }), err
}

// look notes which alerts are firing, ten times a second at most.
func (w *watch) look() {
	w.Helper()
	if time.Since(w.last) < 100*time.Millisecond {
		return
	}
	w.last = time.Now()
	alerts, err := w.firing()
	if err != nil {
		return // it may be busy
	}
	for _, a := range alerts {
		name, node := a.Labels["alertname"], a.Labels["instance"]
		if slices.Contains(w.fired[name], node) {
			continue
		}
		w.fired[name] = append(w.fired[name], node)
		w.Logf("fires: %s %v: %s", name, node, a.Annotations["summary"])
		if text := a.Annotations["summary"] + a.Annotations["description"]; strings.Contains(text, "error expanding") || text == "" {
			w.Errorf("%s says %q", name, text)
		}
	}
}

// fires waits until an alert has fired for a node, while something is done again and again.
func (w *watch) fires(name, node string, meanwhile ...func()) {
	w.Helper()
	w.within(40*time.Second, name+" fires for "+node, func() bool {
		for _, do := range meanwhile {
			do()
		}
		w.look()
		return slices.Contains(w.fired[name], node)
	})
}

// ends waits until an alert fires no more for a node.
func (w *watch) ends(name, node string) {
	w.Helper()
	w.until(name+" ends for "+node, func() bool {
		alerts, err := w.firing()
		return err == nil && !slices.ContainsFunc(alerts, func(a alert) bool { return a.Labels["alertname"] == name && a.Labels["instance"] == node })
	})
}

// quiet looks for a while that nothing fires but what may.
func (w *watch) quiet(d time.Duration, but ...string) {
	w.Helper()
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		w.look()
	}
	for _, name := range slices.Sorted(maps.Keys(w.fired)) {
		if !slices.Contains(but, name) {
			w.Errorf("%s fires for %q although all is well", name, w.fired[name])
		}
	}
}
