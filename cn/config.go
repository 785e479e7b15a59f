package cn

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"roam6/mip6"
)

// Config is what an administrator tells a correspondent node. Zero values of
// MaxBindings and MaxLifetime stand for their defaults.
type Config struct {
	// Optimise is route optimisation for mobile nodes. Without it no test and no
	// binding update is answered, and mobiles are reached through their home
	// agents; what arrives with a Home Address option is answered with a Binding
	// Error all the same (RFC 6275 §8.2, §9.3.3).
	Optimise bool
	// MaxBindings limits the number of bindings, those included that have ended
	// and are remembered against replay. Default: 1000.
	MaxBindings int
	// MaxLifetime limits the lifetime of bindings. Default, and longest that has
	// an effect: 420 s.
	MaxLifetime time.Duration
	// Random fills a slice with unguessable octets, for the seeds of rate limits and
	// the index of the first nonce.
	Random func([]byte)
	// Secret does so for node keys and nonces (RFC 6275 §5.2.1, §5.2.2), which nobody
	// else must ever learn, who records what the role draws included. Nil: Random.
	Secret func([]byte)
}

// Protocol constants (RFC 6275 §12), and what follows from them.
const (
	maxNonceLifetime     = 240 * time.Second
	maxTokenLifetime     = 210 * time.Second
	maxRRBindingLifetime = 420 * time.Second

	defaultMaxBindings = 1000
)

func (c Config) withDefaults() Config {
	c.MaxBindings = cmp.Or(c.MaxBindings, defaultMaxBindings)
	if c.Secret == nil {
		c.Secret = c.Random
	}
	c.MaxLifetime = min(cmp.Or(c.MaxLifetime, maxRRBindingLifetime), maxRRBindingLifetime)
	return c
}

// Validate tells everything that is wrong with the configuration, joined in one
// error. New and Reconfigure expect a valid one.
func (c Config) Validate() error {
	var errs []error
	if c.MaxBindings < 0 {
		errs = append(errs, fmt.Errorf("number of bindings %d is negative", c.MaxBindings))
	}
	if c.MaxLifetime != 0 && c.MaxLifetime < mip6.LifetimeUnit {
		errs = append(errs, fmt.Errorf("longest binding lifetime %v is less than %v", c.MaxLifetime, mip6.LifetimeUnit))
	}
	if c.Random == nil {
		errs = append(errs, errors.New("no source of random octets"))
	}
	return errors.Join(errs...)
}
