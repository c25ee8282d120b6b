package dpu

import "encoding/json"

// Orders is what an agent reads of an answer with orders.
type Orders struct {
	Ports, Flawed int
	Nameless      int
}

// ReadOrders reads an answer with orders as an agent does.
func ReadOrders(text []byte) (Orders, error) {
	var list orders
	if err := json.Unmarshal(text, &list); err != nil {
		return Orders{}, err
	}
	out := Orders{Ports: len(list.Orders), Nameless: len(list.nameless)}
	for _, o := range list.Orders {
		if o.flaw != "" {
			out.Flawed++
		}
	}
	return out, nil
}
