package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// writeYAML writes one JSON value as YAML, its keys in their order.
func writeYAML(w io.Writer, raw json.RawMessage) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	n, err := yamlNode(dec)
	if err != nil {
		return fmt.Errorf("the answer is not JSON: %w", err)
	}
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(n); err != nil {
		return err
	}
	return enc.Close()
}

// yamlNode reads one JSON value.
func yamlNode(dec *json.Decoder) (*yaml.Node, error) {
	t, err := dec.Token()
	if err != nil {
		return nil, err
	}
	switch t := t.(type) {
	case json.Delim:
		if t == '{' {
			return yamlMapping(dec)
		}
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for dec.More() {
			e, err := yamlNode(dec)
			if err != nil {
				return nil, err
			}
			n.Content = append(n.Content, e)
		}
		_, err := dec.Token()
		return n, err
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Value: t.String()}, nil
	default:
		n := &yaml.Node{}
		return n, n.Encode(t)
	}
}

// yamlMapping reads the rest of a JSON object. Of a key that stands there twice the last value counts, as in other readers.
func yamlMapping(dec *json.Decoder) (*yaml.Node, error) {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	at := map[string]int{}
	for dec.More() {
		key, err := yamlNode(dec)
		if err != nil {
			return nil, err
		}
		v, err := yamlNode(dec)
		if err != nil {
			return nil, err
		}
		if i, twice := at[key.Value]; twice {
			n.Content[i] = v
			continue
		}
		n.Content = append(n.Content, key, v)
		at[key.Value] = len(n.Content) - 1
	}
	_, err := dec.Token()
	return n, err
}

// readYAML reads one document of YAML, of which JSON is a part, into values of JSON.
func readYAML(r io.Reader) (json.RawMessage, error) {
	dec := yaml.NewDecoder(io.LimitReader(r, maxDocument))
	var v any
	switch err := dec.Decode(&v); {
	case errors.Is(err, io.EOF):
		return nil, errors.New("it is empty")
	case err != nil:
		return nil, err
	}
	if err := dec.Decode(new(any)); !errors.Is(err, io.EOF) {
		return nil, errors.New("it has more than one document")
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, errors.New("it has a key that is not text, which JSON has not")
	}
	return b, nil
}

// maxDocument is the most that is read of a document, in bytes.
const maxDocument = 64 << 20
