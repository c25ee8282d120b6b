package ssh

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
	"github.com/riser-project/riser/node"
	"github.com/riser-project/riser/step"
)

// Images fetches the images that a step streams. http.DefaultClient is good enough where all image hosts may be asked.
type Images interface {
	Do(*http.Request) (*http.Response, error)
}

// maxImage bounds an image; the largest of a BlueField are below 2 GiB.
const maxImage = 8 << 30

// bootTime is how long a card may take from the end of the stream until it is ready.
const bootTime = 40 * time.Minute

// Steps lists the steps of nodes with ssh interfaces. Images are fetched with the given client.
func Steps(images Images) []step.Definition {
	flows := []node.Flow{node.FlowClean, node.FlowDeploy, node.FlowService}
	return []step.Definition{
		{
			Interface: node.Vendor, Name: "ssh_command", Impls: []string{"ssh"}, Flows: flows, NoRamdisk: true,
			Summary: "Run a command of the service's list on the machine.",
			Args: []step.Arg{{Name: "command", Description: "Name of the command, as the service's configuration lists it.", Required: true,
				Check: isName}},
			Plan: func(args node.Object) []string { return []string{fmt.Sprintf("ssh command %v", args["command"])} },
			Run:  runCommand,
		},
		{
			Interface: node.Firmware, Name: "install_bfb", Impls: []string{"ssh"}, Flows: flows, NoRamdisk: true, ResetCard: true, Timeout: 2 * time.Hour,
			Summary: "Stream a new system (BFB) to the card over the rshim and wait until it is ready.",
			Args: []step.Arg{{Name: "url", Description: "http or https URL of the .bfb file, which the conductor fetches.", Required: true,
				Check: isImage}},
			Plan: func(args node.Object) []string {
				return []string{fmt.Sprintf("stream %v to the card's boot device", args["url"])}
			},
			Run:  func(ctx context.Context, t *step.Task) (step.Result, error) { return stream(ctx, t, images) },
			Poll: awaitCard,
		},
	}
}

func isName(v any) error {
	if s, ok := v.(string); !ok || s == "" {
		return fmt.Errorf("%v is not a name", v)
	}
	return nil
}

func isImage(v any) error {
	text, _ := v.(string)
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" || !strings.HasSuffix(u.Path, ".bfb") {
		return fmt.Errorf("must be an http or https URL of a .bfb file, without credentials")
	}
	return nil
}

func conn(ctx context.Context, t *step.Task) (*Conn, error) {
	base, err := t.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c, ok := driver.As[*Conn](base)
	if !ok {
		return nil, driver.Unsupported("commands by SSH")
	}
	return c, nil
}

func runCommand(ctx context.Context, t *step.Task) (step.Result, error) {
	c, err := conn(ctx, t)
	if err != nil {
		return step.Done, err
	}
	name, _ := t.Args["command"].(string)
	out, err := c.Run(ctx, name)
	if err != nil {
		return step.Done, err
	}
	t.Evidence(name + ": " + first(out, 400))
	return step.Done, nil
}

// installation is what install_bfb keeps.
type installation struct{ Streamed time.Time }

func stream(ctx context.Context, t *step.Task, images Images) (step.Result, error) {
	if _, done := kept(t); done {
		return step.Wait, nil
	}
	c, err := conn(ctx, t)
	if err != nil {
		return step.Done, err
	}
	text, _ := t.Args["url"].(string)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, text, nil)
	if err != nil {
		return step.Done, fault.New(fault.Invalid, "argument url: %s", last(err))
	}
	resp, err := images.Do(req)
	if err != nil {
		return step.Done, fault.New(fault.Unavailable, "the image %s cannot be fetched: %s", text, last(err))
	}
	defer func() { _ = resp.Body.Close() }()
	switch {
	case resp.StatusCode != http.StatusOK:
		return step.Done, fault.New(fault.Unavailable, "the image %s cannot be fetched: its server answered %d", text, resp.StatusCode)
	case resp.ContentLength <= 0 || resp.ContentLength > maxImage:
		return step.Done, fault.New(fault.Invalid, "the image %s has %d bytes; it must have 1 to %d, and its server must say how many", text,
			resp.ContentLength, int64(maxImage))
	}
	quarter := int64(1)
	err = c.Stream(ctx, resp.Body, resp.ContentLength, func(sent int64) {
		if sent*4 >= quarter*resp.ContentLength {
			quarter = sent*4/resp.ContentLength + 1
			t.Evidence(fmt.Sprintf("%d %% of the image streamed", sent*100/resp.ContentLength))
		}
	})
	if err != nil {
		return step.Done, err
	}
	return step.Wait, t.Keep(ctx, stateKey, installation{Streamed: time.Now()})
}

const stateKey = "installation"

func kept(t *step.Task) (s installation, ok bool) {
	raw, err := json.Marshal(t.Kept(stateKey))
	if err != nil || string(raw) == "null" {
		return s, false
	}
	return s, json.Unmarshal(raw, &s) == nil
}

func awaitCard(ctx context.Context, t *step.Task) (step.Result, error) {
	s, ok := kept(t)
	if !ok {
		return step.Done, fault.New(fault.Conflict, "what became of the image is unknown: look at the card's console, then run the step again if "+
			"it is needed")
	}
	c, err := conn(ctx, t)
	var lines []string
	ready := false
	if err == nil {
		lines, ready, err = c.CardLog(ctx)
	}
	switch {
	case err != nil && !fault.Is(err, fault.Timeout) && !fault.Is(err, fault.Unavailable):
		return step.Done, err
	case ready:
		t.Evidence("the card says: " + lines[len(lines)-1])
		return step.Done, nil
	case time.Since(s.Streamed) > bootTime:
		return step.Done, fault.New(fault.Timeout, "the image is on the card, but it is not ready after %s; its log ends with %q", bootTime,
			lines[max(0, len(lines)-3):])
	}
	return step.Wait, nil
}
