package browsertest

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"slices"
	"time"
)

// Page is a page in a browser.
type Page struct {
	b       *Browser
	session string
	// Guarded by b.mu.
	complaints []string
	requests   []string
}

// View is how a page is looked at.
type View struct {
	Width, Height int // CSS pixels
	Dark          bool
	// NoScript: scripts do not run.
	NoScript bool
}

// Open opens a page and waits until it is loaded.
func (b *Browser) Open(url string, v View) *Page {
	b.t.Helper()
	var target struct {
		ID string `json:"targetId"`
	}
	b.call("", "Target.createTarget", params{"url": "about:blank"}, &target)
	var attached struct {
		Session string `json:"sessionId"`
	}
	b.call("", "Target.attachToTarget", params{"targetId": target.ID, "flatten": true}, &attached)
	p := &Page{b: b, session: attached.Session}
	b.mu.Lock()
	b.pages[p.session] = p
	b.mu.Unlock()
	for _, domain := range []string{"Page", "Runtime", "Log", "Network", "Accessibility"} {
		p.call(domain+".enable", nil, nil)
	}
	p.Look(v)
	p.call("Emulation.setScriptExecutionDisabled", params{"value": v.NoScript}, nil)
	var navigated struct {
		Error string `json:"errorText"`
	}
	p.call("Page.navigate", params{"url": url}, &navigated)
	if navigated.Error != "" {
		b.t.Fatalf("%s: %s", url, navigated.Error)
	}
	p.Until("it is loaded", "document.readyState === 'complete' && location.href !== 'about:blank'")
	return p
}

type params map[string]any

func (p *Page) call(method string, what params, result any) {
	p.b.t.Helper()
	if what == nil {
		what = params{}
	}
	p.b.call(p.session, method, what, result)
}

// Look changes how the page is looked at.
func (p *Page) Look(v View) {
	p.b.t.Helper()
	p.call("Emulation.setDeviceMetricsOverride", params{"width": v.Width, "height": v.Height, "screenWidth": v.Width, "screenHeight": v.Height, "deviceScaleFactor": 1, "mobile": v.Width < 600}, nil)
	scheme := "light"
	if v.Dark {
		scheme = "dark"
	}
	p.call("Emulation.setEmulatedMedia", params{"features": []params{{"name": "prefers-color-scheme", "value": scheme}}}, nil)
}

// event takes in what happens. b.mu is held.
func (p *Page) event(method string, text json.RawMessage) {
	var e struct {
		Type    string `json:"type"`
		Request struct {
			URL string `json:"url"`
		} `json:"request"`
		Entry struct {
			Level, Text, URL string
		} `json:"entry"`
	}
	_ = json.Unmarshal(text, &e)
	switch method {
	case "Network.requestWillBeSent":
		p.requests = append(p.requests, e.Request.URL)
	case "Runtime.exceptionThrown":
		p.complaints = append(p.complaints, string(text))
	case "Runtime.consoleAPICalled":
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			p.complaints = append(p.complaints, string(text))
		}
	case "Log.entryAdded":
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			p.complaints = append(p.complaints, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// Complaints are the errors and warnings of the console so far.
func (p *Page) Complaints() []string {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	return slices.Clone(p.complaints)
}

// Requests are the addresses that were asked so far.
func (p *Page) Requests() []string {
	p.b.mu.Lock()
	defer p.b.mu.Unlock()
	return slices.Clone(p.requests)
}

// Eval reads the value of an expression of JavaScript into result, unless that is nil.
func (p *Page) Eval(expression string, result any) {
	p.b.t.Helper()
	var r struct {
		Result struct {
			Value json.RawMessage `json:"value"`
		} `json:"result"`
		Exception json.RawMessage `json:"exceptionDetails"`
	}
	p.call("Runtime.evaluate", params{"expression": expression, "returnByValue": true, "awaitPromise": true}, &r)
	if r.Exception != nil {
		p.b.t.Fatalf("%s: %s", expression, r.Exception)
	}
	if result == nil {
		return
	}
	if err := json.Unmarshal(r.Result.Value, result); err != nil {
		p.b.t.Fatalf("%s: %s: %v", expression, r.Result.Value, err)
	}
}

// Text is what is to be read of an element.
func (p *Page) Text(selector string) (text string) {
	p.b.t.Helper()
	quoted, _ := json.Marshal(selector)
	p.Eval("document.querySelector("+string(quoted)+")?.innerText ?? ''", &text)
	return text
}

// Until waits until an expression is true.
func (p *Page) Until(what, expression string) {
	p.b.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		var holds bool
		if p.Eval("!!("+expression+")", &holds); holds {
			return
		}
		if time.Now().After(deadline) {
			p.b.t.Fatalf("never: %s\n%v\n%s", what, p.Complaints(), p.Text("body"))
		}
	}
}

// Press presses a key, as KeyboardEvent.key names it, such as Tab or ArrowLeft.
func (p *Page) Press(key string) {
	p.b.t.Helper()
	codes := map[string]int{"Tab": 9, "Enter": 13, "End": 35, "Home": 36, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40}
	for _, kind := range []string{"rawKeyDown", "keyUp"} {
		p.call("Input.dispatchKeyEvent", params{"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": codes[key]}, nil)
	}
}

// Type types text where the focus is.
func (p *Page) Type(text string) {
	p.b.t.Helper()
	p.call("Input.insertText", params{"text": text}, nil)
}

// Node is what an assistive technology is told of a part of the page.
type Node struct{ Role, Name string }

// Nodes are the parts of the page that assistive technologies are told of, in order.
func (p *Page) Nodes() []Node {
	p.b.t.Helper()
	var r struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value any }
		}
	}
	p.call("Accessibility.getFullAXTree", nil, &r)
	var list []Node
	for _, n := range r.Nodes {
		if n.Ignored {
			continue
		}
		role, _ := n.Role.Value.(string)
		name, _ := n.Name.Value.(string)
		list = append(list, Node{role, name})
	}
	return list
}

// Screenshot writes a picture of the whole page as PNG.
func (p *Page) Screenshot(path string) {
	p.b.t.Helper()
	var r struct {
		Data string `json:"data"`
	}
	p.call("Page.captureScreenshot", params{"captureBeyondViewport": true}, &r)
	b, err := base64.StdEncoding.DecodeString(r.Data)
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		p.b.t.Fatal(err)
	}
}

// Close closes the page.
func (p *Page) Close() {
	p.b.t.Helper()
	p.call("Page.close", nil, nil)
}
