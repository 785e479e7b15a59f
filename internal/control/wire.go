package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// The protocol: a client connects, sends one request and a newline, gets one
// response and a newline, and the connection is over. After the response to a request for a
// trace there are further lines, until either closes.

// Limits of the server.
const (
	// maxRequest bounds a request, newline included.
	maxRequest = 4096
	// maxConnections bounds the connections that are served at a time; more wait
	// in the kernel's queue.
	maxConnections = 16
	// requestTime bounds the arrival of a request.
	requestTime = 5 * time.Second
	// answerTime bounds the finding of an answer, and its writing: a reload may
	// have much to do, and a list of a hundred thousand bindings is long.
	answerTime = 20 * time.Second
	// lingerTime bounds the wait for the client to close.
	lingerTime = time.Second
)

// request asks for exactly one of these.
type request struct {
	Show   string        `json:"show,omitempty"`
	Reload bool          `json:"reload,omitempty"`
	Ping   bool          `json:"ping,omitempty"`
	Trace  *TraceRequest `json:"trace,omitempty"`
}

// response has data, or says why not.
type response struct {
	Data  json.RawMessage `json:"data,omitempty"`
	Error string          `json:"error,omitempty"`
}

var errRequest = errors.New(`expected one line with {"show":"TOPIC"}, {"reload":true}, {"ping":true} or {"trace":{}}`)

// readRequest reads a line of at most maxRequest octets. The end of the stream
// serves as a newline.
func readRequest(r io.Reader) (request, error) {
	var buffer [maxRequest]byte
	n := 0
	for {
		if n == len(buffer) {
			return request{}, fmt.Errorf("request longer than %d octets: %w", maxRequest, errRequest)
		}
		m, err := r.Read(buffer[n:])
		for i := range m {
			if buffer[n+i] == '\n' {
				return parseRequest(buffer[:n+i])
			}
		}
		n += m
		switch {
		case err == io.EOF && n > 0:
			return parseRequest(buffer[:n])
		case err != nil:
			return request{}, err
		}
	}
}

func parseRequest(line []byte) (request, error) {
	var q request
	if err := json.Unmarshal(line, &q); err != nil {
		return request{}, fmt.Errorf("%w: %w", errRequest, err)
	}
	asked := 0
	for _, a := range [...]bool{q.Show != "", q.Reload, q.Ping, q.Trace != nil} {
		if a {
			asked++
		}
	}
	if asked != 1 {
		return request{}, errRequest
	}
	return q, nil
}
