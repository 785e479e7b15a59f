package ipk

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

var modified = time.Unix(1_760_000_000, 0)

// sample is a package whose files are given in no order.
func sample() Package {
	return Package{
		Name: "sample", Version: "1.2.3-r1", Architecture: "mipsel_24kc", Depends: []string{"kmod-tun", "kmod-ip6-tunnel"},
		Section: "net", License: "Apache-2.0", SourceName: "samples", Description: "A first line\nand a second.",
		Conffiles: []string{"/etc/config/sample"},
		Files: []File{
			{"/usr/sbin/sample", 0o755, bytes.Repeat([]byte("code"), 1000)},
			{"/etc/config/sample", 0o600, []byte("config globals\n")},
			{"/etc/config-sample", 0o644, []byte("sorts between the directory and its content, taken as text")},
			{"/etc/init.d/sample", 0o755, []byte("#!/bin/sh\n")},
		},
	}
}

func written(t *testing.T, p Package, at time.Time) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := p.Write(&b, at); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// unpack lists the entries of a gzipped tar, in order, and their contents. What may
// differ between machines has to be absent from all of them.
func unpack(t *testing.T, packed []byte) (entries []string, content map[string][]byte) {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	if !z.ModTime.IsZero() || z.Name != "" || z.Comment != "" {
		t.Errorf("gzip header %+v", z.Header)
	}
	content = map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if err == io.EOF {
			return entries, content
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || !h.ModTime.Equal(modified) || h.Format != tar.FormatGNU {
			t.Errorf("%s: header %+v", h.Name, h)
		}
		if content[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
		entries = append(entries, fmt.Sprintf("%c%04o %s", h.Typeflag, h.Mode, h.Name))
	}
}

func TestLayout(t *testing.T) {
	outer, parts := unpack(t, written(t, sample(), modified))
	if want := []string{"00644 ./debian-binary", "00644 ./data.tar.gz", "00644 ./control.tar.gz"}; !slices.Equal(outer, want) {
		t.Errorf("package %q, want %q", outer, want)
	}
	if got := string(parts["./debian-binary"]); got != "2.0\n" {
		t.Errorf("debian-binary %q", got)
	}
	data, files := unpack(t, parts["./data.tar.gz"])
	if want := []string{
		"50755 ./", "50755 ./etc/", "50755 ./etc/config/", "00600 ./etc/config/sample", "00644 ./etc/config-sample",
		"50755 ./etc/init.d/", "00755 ./etc/init.d/sample", "50755 ./usr/", "50755 ./usr/sbin/", "00755 ./usr/sbin/sample",
	}; !slices.Equal(data, want) {
		t.Errorf("data %q, want %q", data, want)
	}
	if got := string(files["./etc/config/sample"]); got != "config globals\n" {
		t.Errorf("content %q", got)
	}
	control, texts := unpack(t, parts["./control.tar.gz"])
	if want := []string{"50755 ./", "00644 ./conffiles", "00644 ./control", "00755 ./postinst", "00755 ./prerm"}; !slices.Equal(control, want) {
		t.Errorf("control %q, want %q", control, want)
	}
	if got := string(texts["./conffiles"]); got != "/etc/config/sample\n" {
		t.Errorf("conffiles %q", got)
	}
	size := uncompressed(t, parts["./data.tar.gz"])
	if want := fmt.Sprintf(`Package: sample
Version: 1.2.3-r1
Depends: kmod-tun, kmod-ip6-tunnel
SourceName: samples
License: Apache-2.0
Section: net
SourceDateEpoch: 1760000000
Architecture: mipsel_24kc
Installed-Size: %d
Description: A first line
 and a second.
`, size); string(texts["./control"]) != want {
		t.Errorf("control\n%s\nwant\n%s", texts["./control"], want)
	}
	for name, call := range map[string]string{"./postinst": "default_postinst $0 $@\n", "./prerm": "default_prerm $0 $@\n"} {
		if s := string(texts[name]); !strings.HasPrefix(s, "#!/bin/sh\n") || !strings.HasSuffix(s, call) {
			t.Errorf("%s:\n%s", name, s)
		}
	}
}

func uncompressed(t *testing.T, packed []byte) int64 {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, z)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The order in which files are given, and fractions of the second, change nothing; the
// time, or a single octet, does.
func TestReproducible(t *testing.T) {
	first := written(t, sample(), modified)
	p := sample()
	slices.Reverse(p.Files)
	if !bytes.Equal(first, written(t, p, modified.Add(time.Millisecond).UTC())) {
		t.Error("the same package has other octets")
	}
	if bytes.Equal(first, written(t, sample(), modified.Add(time.Second))) {
		t.Error("another time gives the same octets")
	}
	p.Files[0].Data = []byte("#!/bin/sh\n:\n")
	if bytes.Equal(first, written(t, p, modified)) {
		t.Error("another file gives the same octets")
	}
}

func TestNames(t *testing.T) {
	if got := sample().FileName(); got != "sample_1.2.3-r1_mipsel_24kc.ipk" {
		t.Errorf("file name %q", got)
	}
}

func TestValidate(t *testing.T) {
	if err := sample().Validate(); err != nil {
		t.Error(err)
	}
	for _, tt := range []struct {
		name  string
		spoil func(*Package)
		want  string
	}{
		{"no name", func(p *Package) { p.Name = "" }, `name ""`},
		{"a space in the version", func(p *Package) { p.Version = "1 2" }, `version "1 2"`},
		{"architecture of two lines", func(p *Package) { p.Architecture = "all\nDepends: x" }, "architecture"},
		{"relative path", func(p *Package) { p.Files[0].Path = "usr/sbin/sample" }, "not an absolute, clean path"},
		{"path that climbs", func(p *Package) { p.Files[0].Path = "/usr/../sample" }, "not an absolute, clean path"},
		{"root", func(p *Package) { p.Files[0].Path = "/" }, "not an absolute, clean path"},
		{"directory", func(p *Package) { p.Files[0].Mode |= 1 << 31 }, "not that of a regular file"},
		{"twice", func(p *Package) { p.Files[0].Path = p.Files[1].Path }, "there twice"},
		{"file in a file", func(p *Package) { p.Files[0].Path = p.Files[1].Path + "/x" }, "/etc/config/sample is a file"},
		{"conffile that is none", func(p *Package) { p.Conffiles = []string{"/etc/config/other"} }, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := sample()
			tt.spoil(&p)
			var b bytes.Buffer
			if err := p.Write(&b, modified); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
			if b.Len() > 0 {
				t.Errorf("%d octets were written", b.Len())
			}
		})
	}
}
