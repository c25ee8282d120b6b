package fake_test

import (
	"testing"

	"github.com/riser-project/riser/virt/fake"
	"github.com/riser-project/riser/virt/virttest"
)

func TestContract(t *testing.T) {
	virttest.Run(t, func(t *testing.T) virttest.Harness {
		d := fake.New()
		t.Cleanup(func() {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		})
		return virttest.Harness{Driver: d, Functions: [2]string{"0000:82:00.3", "0000:82:00.4"}}
	})
}
