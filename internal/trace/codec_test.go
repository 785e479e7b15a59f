package trace

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"roam6/internal/binding"
	"roam6/internal/role"
	"roam6/mip6"
	"roam6/nd"
	"roam6/overlay"
)

var testStart = time.Date(2026, 5, 4, 3, 2, 1, 234567891, time.UTC)

// marked finds the types of package role that have a method: isEvent or isAction.
func marked(t *testing.T, method string) []string {
	t.Helper()
	files, err := filepath.Glob("../role/*.go")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var names []string
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, text, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv != nil && fn.Name.Name == method {
				names = append(names, fn.Recv.List[0].Type.(*ast.Ident).Name)
			}
		}
	}
	return names
}

// sampleUpdate is a message, as it is when it was decoded.
func sampleUpdate(t *testing.T) mip6.Packet {
	t.Helper()
	p := mip6.Packet{
		Source: netip.MustParseAddr("2001:db8:a::7"), Destination: netip.MustParseAddr("2001:db8:1::1"), HomeAddress: netip.MustParseAddr("2001:db8:1::7"), HopLimit: 64,
		Message: mip6.BindingUpdate{Sequence: 7, Flags: mip6.UpdateHome, Lifetime: 9, Options: []mip6.Option{mip6.AlternateCareOf{Addr: netip.MustParseAddr("2001:db8:a::7")}}},
	}
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = mip6.ParsePacket(b); err != nil {
		t.Fatal(err)
	}
	return p
}

func sampleICMP(t *testing.T) mip6.ICMPPacket {
	t.Helper()
	p := mip6.ICMPPacket{Source: netip.MustParseAddr("2001:db8:a::7"), Destination: netip.MustParseAddr("2001:db8:1::1"), HopLimit: 64, Message: mip6.HomeAgentRequest{Identifier: 5}}
	b, err := p.Append(nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = mip6.ParseICMPPacket(b); err != nil {
		t.Fatal(err)
	}
	return p
}

// fill puts something into every field.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Interface().(type) {
	case netip.Addr:
		v.Set(reflect.ValueOf(netip.MustParseAddr("2001:db8::1")))
	case netip.Prefix:
		v.Set(reflect.ValueOf(netip.MustParsePrefix("2001:db8::/48")))
	case netip.AddrPort:
		v.Set(reflect.ValueOf(netip.MustParseAddrPort("[2001:db8::1]:547")))
	case time.Time:
		v.Set(reflect.ValueOf(testStart.Add(12345678901)))
	case mip6.Packet:
		v.Set(reflect.ValueOf(sampleUpdate(t)))
	case mip6.ICMPPacket:
		v.Set(reflect.ValueOf(sampleICMP(t)))
	case nd.RouterAdvertisement:
		ra, err := nd.ParseRouterAdvertisement(nd.RouterAdvertisement{RouterLifetime: time.Minute, MTU: 1400, HomeAgent: true, Prefixes: []mip6.PrefixInformation{{Prefix: netip.MustParsePrefix("2001:db8:a::/64"), Autonomous: true, ValidLifetime: time.Hour}}}.Append(nil))
		if err != nil {
			t.Fatal(err)
		}
		ra.Malformed = 2
		v.Set(reflect.ValueOf(ra))
	case binding.Memory:
		v.Set(reflect.ValueOf(binding.Memory{Home: netip.MustParseAddr("2001:db8::1"), Mobile: "2001:db8::1 train", State: binding.Active, Updated: testStart.Add(-time.Hour),
			Created: testStart.Add(-2 * time.Hour), Expires: testStart.Add(time.Hour), Sequence: 3, Lifetime: 4}))
	case []slog.Attr:
		v.Set(reflect.ValueOf([]slog.Attr{slog.String("node", "train"), slog.String("status", "3")}))
	case overlay.Change:
		set, optimise := &overlay.Tunnel{}, &overlay.Route{}
		fill(t, reflect.ValueOf(set).Elem())
		fill(t, reflect.ValueOf(optimise).Elem())
		v.Set(reflect.ValueOf(overlay.Change{Set: set, Optimise: optimise, Remove: set.Key, Deoptimise: &optimise.Pair}))
	default:
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				fill(t, v.Field(i))
			}
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 2, 2))
			for i := range 2 {
				fill(t, v.Index(i))
			}
		case reflect.Array:
			for i := range v.Len() {
				fill(t, v.Index(i))
			}
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			v.SetString("wan")
		case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
			v.SetInt(4)
		case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
			v.SetUint(3)
		default:
			t.Fatalf("a field of type %v: teach this test how to fill it", v.Type())
		}
	}
}

func filled[T any](t *testing.T) T {
	t.Helper()
	var v T
	fill(t, reflect.ValueOf(&v).Elem())
	return v
}

// Every event comes out of a trace as it went in.
func TestEvents(t *testing.T) {
	events := []role.Event{
		filled[role.Timeout](t), filled[role.LinkChanged](t), filled[role.LinkGone](t), filled[role.RouterHeard](t), filled[role.NeighborHeard](t),
		filled[role.MessageReceived](t), filled[role.TunnelRefused](t), filled[role.ICMPReceived](t), filled[role.PeerRefused](t), filled[role.TrafficSeen](t),
		filled[role.TunnelSilent](t), filled[role.UnknownHomeAddress](t), filled[role.RouteUnreachable](t), filled[role.KeysChanged](t), filled[role.Stop](t),
		filled[role.ConfigureLink](t), filled[role.DeclineAddress](t), filled[role.LeaseChanged](t), filled[role.DelegationEnded](t), filled[role.ForeignAddresses](t),
		filled[role.DHCPReceived](t), filled[role.PrefixesDelegated](t),
	}
	c := clock{testStart}
	var covered []string
	for _, e := range events {
		w, err := c.encodeEvent(e)
		if err != nil {
			t.Fatalf("%T: %v", e, err)
		}
		covered = append(covered, w.Type)
		got, err := c.decodeEvent(overJSON(t, w))
		if err != nil || !reflect.DeepEqual(got, e) {
			t.Errorf("%T: %v\n got %+v\nwant %+v", e, err, got, e)
		}
		if DescribeEvent(e) == "" {
			t.Errorf("%T has no description", e)
		}
	}
	checkCovered(t, "isEvent", covered)
	if _, err := c.decodeEvent(Tagged{Type: "Weather", Data: json.RawMessage("{}")}); !errors.Is(err, ErrFormat) {
		t.Errorf("an unknown event: %v", err)
	}
}

// Every action does, too.
func TestActions(t *testing.T) {
	sent := filled[role.Send](t)
	sent.Packet.MH = nil
	actions := []role.Action{
		sent, filled[role.SendICMP](t), filled[role.RequestKeys](t), filled[role.RenewKeys](t), filled[role.JoinAnycast](t), filled[role.LeaveAnycast](t),
		filled[role.HomeAddressFormed](t), filled[role.SolicitRouter](t), filled[role.ProbeAddress](t), filled[role.ProbeNeighbor](t), filled[role.AnnounceAddress](t),
		filled[role.DefendAddress](t), filled[role.UndefendAddress](t), filled[role.AssignAddress](t), filled[role.UnassignAddress](t), filled[role.AddRoute](t),
		filled[role.RemoveRoute](t), filled[role.LearnNeighbor](t), filled[role.ForgetNeighbor](t), filled[role.Forward](t), filled[role.AdvertisePrefix](t),
		filled[role.Remember](t), filled[role.Dropped](t), filled[role.Log](t), filled[role.HandoverDone](t), filled[role.Acknowledged](t), filled[role.BindingChanged](t),
		filled[role.ConfigureLink](t), filled[role.DeclineAddress](t), filled[role.LeaseChanged](t), filled[role.DelegationEnded](t), filled[role.SendDHCP](t),
		filled[role.NumberDownstream](t), filled[role.PrefixesDelegated](t), filled[role.Save](t),
	}
	c := clock{testStart}
	var covered []string
	for _, a := range actions {
		w, err := c.encodeAction(a)
		if err != nil {
			t.Fatalf("%T: %v", a, err)
		}
		covered = append(covered, w.Type)
		got, err := c.decodeAction(overJSON(t, w))
		if err != nil || !reflect.DeepEqual(got, a) {
			t.Errorf("%T: %v\n got %+v\nwant %+v", a, err, got, a)
		}
		if DescribeAction(a) == "" {
			t.Errorf("%T has no description", a)
		}
	}
	checkCovered(t, "isAction", covered)
	if _, err := c.decodeAction(Tagged{Type: "Weather", Data: json.RawMessage("{}")}); !errors.Is(err, ErrFormat) {
		t.Errorf("an unknown action: %v", err)
	}
}

func overJSON(t *testing.T, w Tagged) (out Tagged) {
	t.Helper()
	b, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// checkCovered fails where package role has a type that is not tested here.
func checkCovered(t *testing.T, method string, covered []string) {
	t.Helper()
	for _, name := range marked(t, method) {
		if !slices.Contains(covered, name) {
			t.Errorf("%s has %s: teach the codec, and this test", name, method)
		}
	}
}

// What a newer version knows and this one does not is not passed over.
func TestUnknownMember(t *testing.T) {
	_, err := clock{testStart}.decodeEvent(Tagged{Type: "LinkGone", Data: json.RawMessage(`{"Index":3,"Why":"rust"}`)})
	if err == nil || !strings.Contains(err.Error(), "Why") {
		t.Errorf("error %v", err)
	}
}

// A DHCPv6 server may send a key in an Authentication option.
func TestDHCPAuthentication(t *testing.T) {
	message := []byte{7, 1, 2, 3, 0, 1, 0, 2, 0xaa, 0xbb, 0, 11, 0, 3, 1, 2, 3, 0, 2, 0, 1, 0xcc}
	want := octets{7, 1, 2, 3, 0, 1, 0, 2, 0xaa, 0xbb, 0, 11, 0, 3, 0, 0, 0, 0, 2, 0, 1, 0xcc}
	if got := withoutAuthentication(message); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	for n := range message {
		if got := withoutAuthentication(message[:n]); len(got) != n {
			t.Errorf("%d octets of %d", len(got), n)
		}
	}
}

func TestOffsets(t *testing.T) {
	for n, want := range map[int64]bool{-1: false, 0: true, int64(time.Hour): true, math.MaxInt64: false} {
		if within(n) != want {
			t.Errorf("%d: %t", n, !want)
		}
	}
}
