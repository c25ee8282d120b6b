package bluefield

import (
	"context"
	"net/url"
	"path"
	"strings"

	"github.com/riser-project/riser/driver"
	"github.com/riser-project/riser/fault"
)

// CheckImage returns an error unless text is the URL of a card's software (BFB) that a controller can fetch.
func CheckImage(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return fault.New(fault.Invalid, "the image must be an http or https URL, e.g. http://images.example/bf-bundle-2.9.1.bfb")
	case u.User != nil:
		return fault.New(fault.Invalid, "the image's URL must not hold a user or password")
	case !strings.HasSuffix(u.Path, ".bfb"):
		return fault.New(fault.Invalid, "the image %.80q is no .bfb file", path.Base(u.Path))
	case u.RawQuery != "" || u.Fragment != "":
		return fault.New(fault.Invalid, "the image's URL must end with the file's name: controllers drop what follows")
	}
	return nil
}

// PreFlight checks what is known to make an installation fail, before anything is changed: the image is for another generation, the
// controller's version cannot fetch it, or a background copy of its own firmware runs. The error is fault.Invalid, fault.Unsupported or
// fault.Conflict.
func (c *Conn) PreFlight(ctx context.Context, image string) error {
	if err := CheckImage(image); err != nil {
		return err
	}
	a, err := c.about(ctx)
	if err != nil {
		return err
	}
	u, err := url.Parse(image)
	if err != nil {
		return err
	}
	name := strings.ToLower(path.Base(u.Path))
	if a.family != nil {
		for _, other := range a.family.image {
			if strings.Contains(name, other) {
				return fault.New(fault.Invalid, "BMC %s is on a BlueField-%d; %s looks like an image for %s", c.Address(), a.family.generation,
					path.Base(u.Path), other)
			}
		}
	}
	if tell, has := a.version.has(scpOnly); has {
		return fault.New(fault.Unsupported, "BMC %s (%s): %s; update the controller first", c.Address(), a.version, tell)
	}
	if tell, has := a.version.has(noHTTPS); has && u.Scheme == "https" {
		return fault.New(fault.Unsupported, "BMC %s (%s): %s; update the controller first, or offer the image by HTTP", c.Address(), a.version, tell)
	}
	var erot struct {
		Oem struct {
			Nvidia struct{ BackgroundCopyStatus string }
		}
	}
	err = c.Get(ctx, erotPath, &erot)
	if err != nil && !fault.Is(err, fault.NotFound) {
		return err
	}
	if s := erot.Oem.Nvidia.BackgroundCopyStatus; s != "" && s != "Completed" {
		return fault.New(fault.Conflict, "BMC %s copies firmware in the background (%.40s); wait until it is done, up to half an hour", c.Address(), s)
	}
	return nil
}

// Install asks the controller to fetch a BFB and to put it on the card, over the rshim, which the controller must own. It is relative. The card
// restarts at the end; its boot state tells when the new system is up.
func (c *Conn) Install(ctx context.Context, image string) (driver.Update, error) {
	if err := c.PreFlight(ctx, image); err != nil {
		return driver.Update{}, err
	}
	owned, err := c.ControllerRshim(ctx)
	if err != nil {
		return driver.Update{}, err
	}
	if !owned {
		return driver.Update{}, fault.New(fault.Conflict, "BMC %s does not own the rshim; set it with step management.set_bmc_rshim first", c.Address())
	}
	u, err := url.Parse(image)
	if err != nil {
		return driver.Update{}, err
	}
	protocol := strings.ToUpper(u.Scheme)
	return c.SimpleUpdate(ctx, protocol, map[string]any{
		"TransferProtocol": protocol,
		"ImageURI":         u.Host + "/" + u.EscapedPath(), // these controllers want no scheme, and host//path
		"Targets":          []string{strings.TrimPrefix(inventory, "/") + "DPU_OS"},
	})
}
