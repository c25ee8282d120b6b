// Package neutron is the network backend for an existing OpenStack Neutron: networks and ports are Neutron's, and a port is bound by an update with
// binding:host_id and binding:profile, as Nova binds it. Neutron finds the card's chassis by the serial number in the profile.
//
// An object of riser's is Neutron's object with the same id where there is one; it belongs to somebody else then, and only its binding is written.
// Else it is an object that this package made, which carries riser's id in its description ("riser:ID").
//
// How a port is doing is read from Neutron again and again, and at once for a port that Neutron sends an event about: Events takes what Neutron
// sends to Nova.
package neutron

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"

	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/network"
)

// DefaultPoll is how often all ports are read, for what no event tells.
const DefaultPoll = 15 * time.Second

// Options says where Neutron is.
type Options struct {
	// Endpoint is Neutron's URL, without a version: "http://neutron.example:9696". It may be left out when Auth finds it in the catalog.
	Endpoint string

	// Auth are the credentials of a user with the role service, which alone may write binding:profile. Nil asks for none (auth_strategy=noauth).
	Auth   *gophercloud.AuthOptions
	Region string // of the endpoint in the catalog; empty takes the only one

	Poll   time.Duration // 0 means DefaultPoll
	Client *http.Client  // nil means one with a timeout of a minute
}

// Backend is a network.Backend on a Neutron. It is safe for concurrent use.
type Backend struct {
	client *gophercloud.ServiceClient
	poll   time.Duration

	mu       sync.Mutex
	extended *bool             // whether Neutron has the extension binding-extended; nil until it was asked
	names    map[string]string // of ports: riser's id by Neutron's
	watchers map[*watcher]bool
}

var _ network.Backend = (*Backend)(nil)

// Open returns a Backend on a Neutron. With Auth, the error is that of the identity service.
func Open(ctx context.Context, o Options) (*Backend, error) {
	if o.Poll == 0 {
		o.Poll = DefaultPoll
	}
	if o.Client == nil {
		o.Client = &http.Client{Timeout: time.Minute}
	}
	b := &Backend{poll: o.Poll, names: map[string]string{}, watchers: map[*watcher]bool{}}
	if o.Auth == nil {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return nil, fmt.Errorf("Neutron %q: want a URL such as http://neutron.example:9696", o.Endpoint) //nolint:staticcheck // a name
		}
		b.client = &gophercloud.ServiceClient{ProviderClient: &gophercloud.ProviderClient{HTTPClient: *o.Client}}
	} else {
		auth := *o.Auth
		auth.AllowReauth = true
		provider, err := openstack.NewClient(auth.IdentityEndpoint)
		if err != nil {
			return nil, fmt.Errorf("identity service for Neutron: %w", err)
		}
		provider.HTTPClient = *o.Client
		if err := openstack.Authenticate(ctx, provider, auth); err != nil {
			return nil, fmt.Errorf("identity service for Neutron: %w", err)
		}
		if b.client, err = openstack.NewNetworkV2(provider, gophercloud.EndpointOpts{Region: o.Region}); err != nil {
			return nil, fmt.Errorf("Neutron in the service catalog: %w", err) //nolint:staticcheck // a name
		}
	}
	if o.Endpoint != "" {
		b.client.Endpoint = strings.TrimSuffix(o.Endpoint, "/") + "/"
		b.client.ResourceBase = b.client.Endpoint + "v2.0/"
	}
	return b, nil
}

// Name is "neutron".
func (b *Backend) Name() string { return "neutron" }

// Close ends idle connections.
func (b *Backend) Close() error {
	b.client.HTTPClient.CloseIdleConnections()
	return nil
}

// kinded gives an error of Neutron's the kind that a caller acts on, and its text.
func kinded(err error) error {
	var answer gophercloud.ErrUnexpectedResponseCode
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if !errors.As(err, &answer) {
		return fault.New(fault.Unavailable, "Neutron cannot be reached: %w", err)
	}
	var body struct {
		NeutronError struct{ Type, Message string }
	}
	text := http.StatusText(answer.Actual)
	if json.Unmarshal(answer.Body, &body) == nil && body.NeutronError.Message != "" {
		text = body.NeutronError.Type + ": " + body.NeutronError.Message
	}
	kind := map[int]fault.Kind{
		http.StatusNotFound: fault.NotFound, http.StatusConflict: fault.Conflict, http.StatusBadRequest: fault.Invalid,
		http.StatusForbidden: fault.Forbidden, http.StatusServiceUnavailable: fault.Unavailable, http.StatusTooManyRequests: fault.Unavailable,
		http.StatusBadGateway: fault.Unavailable, http.StatusGatewayTimeout: fault.Unavailable,
	}[answer.Actual]
	if kind == fault.Internal {
		return fmt.Errorf("Neutron answers %d: %s", answer.Actual, text) //nolint:staticcheck // a name
	}
	return fault.New(kind, "Neutron: %s", text)
}

// mark is the description of an object that belongs to riser.
func mark(id string) string { return "riser:" + id }

// marked returns the id in a description, or nothing.
func marked(description string) string {
	id, ok := strings.CutPrefix(description, "riser:")
	if !ok {
		return ""
	}
	return id
}

func (b *Backend) get(ctx context.Context, path string, query url.Values, out any) error {
	u := b.client.ServiceURL(path)
	if len(query) > 0 {
		u += "?" + query.Encode()
	}
	resp, err := b.client.Get(ctx, u, out, nil)
	return done(resp, err)
}

func (b *Backend) post(ctx context.Context, path string, in, out any) error {
	resp, err := b.client.Post(ctx, b.client.ServiceURL(path), in, out, &gophercloud.RequestOpts{OkCodes: []int{200, 201}})
	return done(resp, err)
}

func (b *Backend) put(ctx context.Context, path string, in, out any) error {
	resp, err := b.client.Put(ctx, b.client.ServiceURL(path), in, out, &gophercloud.RequestOpts{OkCodes: []int{200}})
	return done(resp, err)
}

// remove deletes an object; one that is not there is no error.
func (b *Backend) remove(ctx context.Context, path string) error {
	resp, err := b.client.Delete(ctx, b.client.ServiceURL(path), &gophercloud.RequestOpts{OkCodes: []int{200, 204, 404}})
	return done(resp, err)
}

func done(resp *http.Response, err error) error {
	if resp != nil && err == nil {
		_ = resp.Body.Close() // gophercloud has read what is wanted of it
	}
	return kinded(err)
}

// found is what identifies an object.
type found struct {
	ID          string `json:"id"`
	Name        string `json:"name"`
	Description string `json:"description"`
}

// find returns the object of a collection that stands for riser's id, and whether riser made it; nil when there is none.
func find[T any](ctx context.Context, b *Backend, collection, one, id string, mine func(*T) string) (object *T, own bool, err error) {
	var byID map[string]*T
	err = b.get(ctx, collection+"/"+id, nil, &byID)
	if err == nil {
		return byID[one], false, nil
	}
	if !fault.Is(err, fault.NotFound) {
		return nil, false, err
	}
	var listed map[string][]*T
	if err := b.get(ctx, collection, url.Values{"description": {mark(id)}}, &listed); err != nil {
		return nil, false, err
	}
	for _, o := range listed[collection] {
		if marked(mine(o)) == id {
			return o, true, nil
		}
	}
	return nil, false, nil
}
