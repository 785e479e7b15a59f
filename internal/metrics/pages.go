package metrics

import "context"

// Pages are what the endpoint serves beside /metrics.
type Pages interface {
	// Page answers a GET request; ok is false where there is nothing at the path.
	Page(ctx context.Context, q PageRequest) (a PageAnswer, ok bool)
}

// PageRequest is what a request asks for.
type PageRequest struct {
	// Host is the authority that the client asks, with or without a port, and as the
	// client says; empty: it did not say.
	Host string
	Path string
	// Query is what follows the question mark, as it came.
	Query string
}

// PageAnswer is the answer to a request.
type PageAnswer struct {
	Status int
	Reason string   // the status in words
	Fields []string // header fields, name and value
	Body   []byte   // nil: the status
}
