package redfish

import (
	"context"
	"strings"

	"github.com/riser-project/riser/driver"
)

var _ driver.RAID = (*Conn)(nil)

// Volumes reads the volumes of all storage controllers (DSP0268 Volume).
func (c *Conn) Volumes(ctx context.Context) ([]driver.Volume, error) {
	var sys struct{ Storage reference }
	if err := c.Get(ctx, c.path, &sys); err != nil {
		return nil, err
	}
	if sys.Storage.ID == "" {
		return nil, driver.Unsupported("reading RAID volumes")
	}
	controllers, err := c.service.members(ctx, sys.Storage.ID)
	if err != nil {
		return nil, err
	}
	var list []driver.Volume
	for _, path := range controllers[:min(len(controllers), 16)] {
		var storage struct{ Volumes reference }
		if err := c.Get(ctx, path, &storage); stop(err) {
			return nil, err
		}
		if storage.Volumes.ID == "" {
			continue
		}
		some, err := c.volumes(ctx, base(path), storage.Volumes.ID)
		if err != nil {
			return nil, err
		}
		list = append(list, some...)
	}
	return list, nil
}

func (c *Conn) volumes(ctx context.Context, controller, path string) ([]driver.Volume, error) {
	type volume struct {
		ID            string `json:"Id"`
		Name          string
		RAIDType      string
		VolumeType    string
		CapacityBytes int64
		Status        status
		Links         struct{ Drives []reference }
	}
	var list []driver.Volume
	var v *volume
	err := c.each(ctx, path, 64, func() any { v = new(volume); return v }, func() {
		found := driver.Volume{ID: v.ID, Name: real(v.Name), Controller: controller, Level: first(v.RAIDType, level(v.VolumeType)),
			Bytes: v.CapacityBytes, Health: v.Status.Health}
		for _, d := range v.Links.Drives {
			found.Disks = append(found.Disks, base(d.ID))
		}
		list = append(list, found)
	})
	return list, err
}

// level turns the VolumeType that came before RAIDType into one.
func level(volumeType string) string {
	return map[string]string{
		"NonRedundant": "RAID0", "Mirrored": "RAID1", "StripedWithParity": "RAID5", "SpannedMirrors": "RAID10", "SpannedStripesWithParity": "RAID50",
	}[volumeType]
}

// base is the last part of a path.
func base(path string) string { return path[strings.LastIndex(path, "/")+1:] }
