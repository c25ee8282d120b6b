package dpu_test

import (
	"encoding/json"
	"testing"

	"github.com/riser-project/riser/agent/dpu"
	"github.com/riser-project/riser/agent/wire"
)

func TestOrdersAreReadOneByOne(t *testing.T) {
	for _, tt := range []struct {
		name, text string
		want       dpu.Orders
	}{
		{"none", `{"revision":3,"full":true}`, dpu.Orders{}},
		{"one", `{"orders":[{"port":"p","action":"plug"}]}`, dpu.Orders{Ports: 1}},
		{"one with more keys than are known", `{"orders":[{"port":"p","action":"plug","colour":"blue"}]}`, dpu.Orders{Ports: 1}},
		{"one that is flawed", `{"orders":[{"port":"p","action":"plug","number":"1"},{"port":"q","action":"plug"}]}`, dpu.Orders{Ports: 2, Flawed: 1}},
		{"a flaw that an unplug does not mind", `{"orders":[{"port":"p","action":"unplug","number":"1"}]}`, dpu.Orders{Ports: 1}},
		{"a generation that cannot be read", `{"orders":[{"port":"p","action":"plug","generation":"1"},{"port":"q","action":"plug"}]}`, dpu.Orders{Ports: 1, Nameless: 1}},
		{"no port", `{"orders":[{"action":"plug"},{"port":"q","action":"plug"}]}`, dpu.Orders{Ports: 1, Nameless: 1}},
		{"null", `{"orders":[null]}`, dpu.Orders{Nameless: 1}},
	} {
		if got, err := dpu.ReadOrders([]byte(tt.text)); err != nil || got != tt.want {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	for _, text := range []string{`{"revision":"3"}`, `[]`, `{"orders":{}}`, `{"orders":[`, ``} {
		if _, err := dpu.ReadOrders([]byte(text)); err == nil {
			t.Errorf("%q was read", text)
		}
	}
}

func FuzzOrders(f *testing.F) {
	for _, text := range []string{
		`{"revision":7,"full":true,"orders":[{"port":"p","generation":1,"revision":7,"action":"plug","kind":"vf","pf_mac":"08:c0:eb:aa:00:00","number":3,"mac":"fa:16:3e:00:00:01","mtu":1442}]}`,
		`{"orders":[{"port":"p","action":"unplug","number":"1"},null,7,[]]}`,
		`{"orders":[{"port":"p","action":"plug","generation":-1}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := dpu.ReadOrders(text)
		var whole wire.Orders
		if strict := json.Unmarshal(text, &whole); strict == nil && (err != nil || got.Ports+got.Nameless != len(whole.Orders)) {
			t.Errorf("%d orders are read as %+v, %v", len(whole.Orders), got, err)
		}
	})
}
