package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/riser-project/riser/pci"
)

// SetVPD gives a function another VPD, or none if data is nil. A reader that hangs is let go, with nothing read.
func (h *Host) SetVPD(a pci.Address, data []byte) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, err := h.function(a)
	if err != nil {
		return err
	}
	defer f.release()
	name := filepath.Join(f.dir, "vpd")
	if data != nil {
		return h.replace(name, data, 0o600)
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("simulated host: %w", err)
	}
	return nil
}

// CorruptVPD changes one bit of the first value in the function's VPD, so that the checksum no longer fits.
func (h *Host) CorruptVPD(a pci.Address) error {
	data, err := os.ReadFile(h.Path(a, "vpd"))
	if err != nil {
		return fmt.Errorf("simulated host: %w", err)
	}
	i := bytes.IndexByte(data, 0x90) // the header of VPD-R: tag and length, then the first field's keyword and length
	if i < 0 || i+6 >= len(data) {
		return fmt.Errorf("simulated host: %s has no VPD to corrupt", a)
	}
	data[i+6] ^= 1
	return h.SetVPD(a, data)
}

// HangVPD makes reads of a function's VPD hang until FreeVPD, SetVPD, Close or the end of the card.
func (h *Host) HangVPD(a pci.Address) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, err := h.function(a)
	if err != nil || f.hung != nil {
		return err
	}
	name := filepath.Join(f.dir, "vpd")
	old, err := os.ReadFile(name)
	if err != nil {
		return fmt.Errorf("simulated host: %w", err)
	}
	fifo := filepath.Join(h.root, hidden, "vpd-"+a.String())
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		return fmt.Errorf("simulated host: %s: %w", fifo, err)
	}
	// Held open for writing too, so that readers get past opening it and hang in reading.
	hung, err := os.OpenFile(fifo, os.O_RDWR, 0)
	if err != nil {
		return fmt.Errorf("simulated host: %w", err)
	}
	if err := os.Rename(fifo, name); err != nil {
		return errors.Join(err, hung.Close())
	}
	f.hung, f.vpd = hung, old
	return nil
}

// FreeVPD ends what HangVPD began: the VPD is as before, and who hangs reads nothing.
func (h *Host) FreeVPD(a pci.Address) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	f, err := h.function(a)
	if err != nil || f.hung == nil {
		return err
	}
	defer f.release()
	return h.replace(filepath.Join(f.dir, "vpd"), f.vpd, 0o600)
}

func (h *Host) function(a pci.Address) (*function, error) {
	f := h.functions[a]
	if f == nil {
		return nil, fmt.Errorf("simulated host: there is no function %s", a)
	}
	return f, nil
}
