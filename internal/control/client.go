package control

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"syscall"

	"roam6/internal/deadline"
)

// Errors of a client, to be told apart by a program that waits for a daemon.
var (
	// ErrNotRunning: nobody answers on the socket.
	ErrNotRunning = errors.New("no daemon answers there: is roam6 running? --control PATH asks on another socket")
	// ErrNotPermitted: the socket is another user's.
	ErrNotPermitted = errors.New("permission denied: run as root, or as the user that the daemon runs as")
)

// DaemonError is what the daemon said was wrong with a request.
type DaemonError struct{ Message string }

func (e *DaemonError) Error() string { return "the daemon says: " + e.Message }

// maxResponse bounds what a client reads: several times the list of a hundred
// thousand bindings.
const maxResponse = 256 << 20

// Client asks a daemon. It has no connection between questions, so it outlives
// a restart of the daemon. It is safe for use by several goroutines.
type Client struct{ path string }

// NewClient returns a client for the control socket at path.
func NewClient(path string) *Client { return &Client{path: path} }

// Show asks for the document of a topic and returns it as JSON.
func (c *Client) Show(ctx context.Context, t Topic) (json.RawMessage, error) {
	return c.ask(ctx, request{Show: t.String()})
}

// Status asks for what to look at first.
func (c *Client) Status(ctx context.Context) (Status, error) {
	return ask[Status](ctx, c, TopicStatus)
}

// Bindings asks for the binding cache.
func (c *Client) Bindings(ctx context.Context) (Bindings, error) {
	return ask[Bindings](ctx, c, TopicBindings)
}

// Updates asks for the binding update list.
func (c *Client) Updates(ctx context.Context) (Updates, error) {
	return ask[Updates](ctx, c, TopicUpdates)
}

// HomeAgents asks for the home agents that are known.
func (c *Client) HomeAgents(ctx context.Context) (HomeAgents, error) {
	return ask[HomeAgents](ctx, c, TopicHomeAgents)
}

// Prefixes asks for the prefixes of home links and mobile networks.
func (c *Client) Prefixes(ctx context.Context) (Prefixes, error) {
	return ask[Prefixes](ctx, c, TopicPrefixes)
}

// Uplinks asks for the interfaces of mobiles.
func (c *Client) Uplinks(ctx context.Context) (Uplinks, error) {
	return ask[Uplinks](ctx, c, TopicUplinks)
}

// Tunnels asks what the data plane carries out.
func (c *Client) Tunnels(ctx context.Context) (Tunnels, error) {
	return ask[Tunnels](ctx, c, TopicTunnels)
}

// Handovers asks for the last moves.
func (c *Client) Handovers(ctx context.Context) (Handovers, error) {
	return ask[Handovers](ctx, c, TopicHandovers)
}

// Advertisements asks for the router advertisements of the daemon.
func (c *Client) Advertisements(ctx context.Context) (Advertisements, error) {
	return ask[Advertisements](ctx, c, TopicAdvertisements)
}

// Stats asks for the counters.
func (c *Client) Stats(ctx context.Context) (Stats, error) {
	return ask[Stats](ctx, c, TopicStats)
}

// Anchors asks for mobility anchor points.
func (c *Client) Anchors(ctx context.Context) (Anchors, error) {
	return ask[Anchors](ctx, c, TopicAnchors)
}

// Reload makes the daemon read its configuration again. An error of the
// configuration is a *DaemonError.
func (c *Client) Reload(ctx context.Context) error {
	_, err := c.ask(ctx, request{Reload: true})
	return err
}

// Ping returns nil when the daemon answers.
func (c *Client) Ping(ctx context.Context) error {
	_, err := c.ask(ctx, request{Ping: true})
	return err
}

func ask[D Document](ctx context.Context, c *Client, t Topic) (D, error) {
	var d D
	data, err := c.Show(ctx, t)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(data, &d); err != nil {
		return d, fmt.Errorf("control socket %s: the daemon's answer: %w", c.path, err)
	}
	return d, nil
}

// ask sends one request and reads its answer.
func (c *Client) ask(ctx context.Context, q request) (json.RawMessage, error) {
	data, err := c.exchange(ctx, q)
	var told *DaemonError
	switch {
	case err == nil, errors.As(err, &told):
		return data, err
	default:
		return nil, c.explain(ctx, err)
	}
}

// explain says what a failure of the connection means.
func (c *Client) explain(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return fmt.Errorf("control socket %s: no answer: %w", c.path, ctx.Err())
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		err = ErrNotRunning
	case errors.Is(err, fs.ErrPermission):
		err = ErrNotPermitted
	}
	return fmt.Errorf("control socket %s: %w", c.path, err)
}

func (c *Client) exchange(ctx context.Context, q request) (json.RawMessage, error) {
	var dialer net.Dialer
	connection, err := dialer.DialContext(ctx, "unix", c.path)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	defer context.AfterFunc(ctx, func() { _ = connection.SetDeadline(deadline.Passed()) })()
	line, err := json.Marshal(q)
	if err != nil {
		return nil, err
	}
	if _, err := connection.Write(append(line, '\n')); err != nil {
		return nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(connection, maxResponse))
	if err != nil {
		return nil, err
	}
	if len(answer) == 0 {
		return nil, errNoAnswer
	}
	var r response
	if err := json.Unmarshal(answer, &r); err != nil {
		return nil, fmt.Errorf("the answer is no JSON line, so this is no roam6 daemon: %w", err)
	}
	if r.Error != "" {
		return nil, &DaemonError{Message: r.Error}
	}
	return r.Data, nil
}
