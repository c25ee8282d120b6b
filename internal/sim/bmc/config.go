package bmc

import (
	"maps"
	"time"
)

// config is what is set on a machine: some of it takes effect at the next start, some only after the slot lost its power.
type config struct {
	bios, biosNext         map[string]any
	secure, secureNext     bool
	mode, modeNext         string // DpuMode, NicMode; cards only
	hostRshim              string // Enabled, Disabled
	bmcRshim               bool
	privileges             map[string]string
	firmware, firmwareNext map[string]string
	media                  map[string]string // virtual media id -> image
	lamp                   bool
	clock                  time.Duration // that the controller's clock is ahead
	copying                time.Time     // until when a background copy of firmware runs
}

type settings struct {
	bios       map[string]any
	firmware   map[string]string
	privileges map[string]string
}

var hostSettings = settings{
	bios: map[string]any{"BootMode": "Uefi", "LogicalProc": "Enabled", "ProcVirtualization": "Enabled", "SriovGlobalEnable": "Enabled", "NumLock": "On"},
	firmware: map[string]string{
		"BIOS": "2.19.1", "BMC": "7.10.30.00", "NIC.Slot.1": "32.41.1000",
	},
}

var cardSettings = settings{
	bios: map[string]any{
		"BootPartitionProtection": false, "EmmcWipe": false, "EnableSMMU": true, "FieldMode": false, "HostPrivilegeLevel": "Privileged",
		"InternalCPUModel": "Embedded", "NicMode": "DpuMode", "NvmeWipe": false, "ResetEfiVars": false, "SPCR_UART": "Disabled",
	},
	firmware: map[string]string{
		"BMC_Firmware": "BF-24.10-10", "Bluefield_FW_ERoT": "00.02.0182.0000_n02", "DPU_ATF": "v2.2(release):4.9.0-25", "DPU_BOARD": "MT_0000000884",
		"DPU_BSP": "4.9.0.13378", "DPU_NIC": "32.43.1014", "DPU_OFED": "MLNX_OFED_LINUX-24.10-0.6.7.0", "DPU_OS": "bf-bundle-2.9.0-90_24.10_ubuntu-22.04_prod",
		"DPU_UEFI": "4.9.0-25-ga5d5a1d", "golden_image_arm": "no valid " +
			"golden_image_arm!!!!", "golden_image_config": "2.9.0", "golden_image_nic": "32.43.1014",
	},
	privileges: map[string]string{
		"HostPrivFlashAccess": "Default", "HostPrivFwUpdate": "Default", "HostPrivNicReset": "Default", "HostPrivNvGlobal": "Default",
		"HostPrivNvHost": "Default", "HostPrivNvInternalCpu": "Default", "HostPrivNvPort": "Default", "HostPrivPccUpdate": "Default",
	},
}

func newConfig(s settings) config {
	return config{
		bios: s.bios, firmware: s.firmware, privileges: s.privileges, mode: "DpuMode", modeNext: "DpuMode", hostRshim: "Enabled",
		media: map[string]string{},
	}
}

// set returns a copy of m with key set: the maps of new machines are shared.
func set[V any](m map[string]V, key string, v V) map[string]V {
	if m = maps.Clone(m); m == nil {
		m = map[string]V{}
	}
	m[key] = v
	return m
}

// apply is the start of the machine.
func (c *config) apply() {
	for k, v := range c.biosNext {
		c.bios = set(c.bios, k, v)
	}
	c.biosNext = nil
	c.secure = c.secureNext
}

// cold is the loss of main power.
func (c *config) cold() {
	if c.mode != c.modeNext {
		c.mode = c.modeNext
		c.bios = set(c.bios, "NicMode", any(c.mode))
	}
}

// activate is the restart of the controller: firmware that was installed counts from then on. It reports whether there was some.
func (c *config) activate() bool {
	for k, v := range c.firmwareNext {
		c.firmware = set(c.firmware, k, v)
	}
	some := len(c.firmwareNext) > 0
	c.firmwareNext = nil
	return some
}
