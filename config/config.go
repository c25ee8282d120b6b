// Package config reads settings from the command line, the environment and one YAML file, in that order of precedence. A setting is declared
// once, as a flag; its key in the file is the flag's name, and its variable is the name in capitals after a prefix, with hyphens as underscores.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sort"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

// Load fills the flags of set that the command line did not give: from the environment (prefix "RISER_" and --listen: RISER_LISTEN), else from
// the YAML file at path. An empty path means no file. except names flags that make no sense there, such as the one that names the file.
//
// An unknown key, a value that is not of the flag's type, and a second document are errors that name the file, the key and what would be right.
func Load(set *pflag.FlagSet, prefix, path string, environ []string, except ...string) error {
	given := map[string]bool{}
	set.VisitAll(func(f *pflag.Flag) { given[f.Name] = f.Changed })
	if path != "" {
		if err := loadFile(set, path, given, except); err != nil {
			return err
		}
	}
	return loadEnv(set, prefix, environ, given, except)
}

func loadEnv(set *pflag.FlagSet, prefix string, environ []string, given map[string]bool, except []string) error {
	var errs []error
	set.VisitAll(func(f *pflag.Flag) {
		name := Variable(prefix, f.Name)
		for _, entry := range environ {
			v, ok := strings.CutPrefix(entry, name+"=")
			if !ok || given[f.Name] || slices.Contains(except, f.Name) {
				continue
			}
			if err := f.Value.Set(v); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", name, err))
			}
		}
	})
	return errors.Join(errs...)
}

// Variable is the environment variable of a flag.
func Variable(prefix, flag string) string {
	return prefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func loadFile(set *pflag.FlagSet, path string, given map[string]bool, except []string) error {
	text, err := os.ReadFile(path) //nolint:gosec // the path is the operator's own choice
	if err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var keys map[string]yaml.Node
	if err := dec.Decode(&keys); err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("configuration %s: want lines of the form \"setting: value\": %w", path, err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("configuration %s: a second YAML document: want one", path)
	}
	var errs []error
	for key, value := range keys {
		if err := setKey(set, key, value, given, except); err != nil {
			errs = append(errs, fmt.Errorf("configuration %s, line %d: %w", path, value.Line, err))
		}
	}
	sort.Slice(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
	return errors.Join(errs...)
}

func setKey(set *pflag.FlagSet, key string, value yaml.Node, given map[string]bool, except []string) error {
	f := set.Lookup(key)
	if f == nil || slices.Contains(except, key) {
		return fmt.Errorf("unknown setting %q; the settings are %s", key, strings.Join(names(set, except), ", "))
	}
	if given[key] {
		return nil
	}
	text := value.Value
	if list, ok := f.Value.(pflag.SliceValue); ok && value.Kind == yaml.SequenceNode {
		var items []string
		if err := value.Decode(&items); err != nil {
			return fmt.Errorf("setting %s: want a list of texts", key)
		}
		return list.Replace(items)
	}
	if value.Kind != yaml.ScalarNode {
		return fmt.Errorf("setting %s: want a single value (%s)", key, f.Value.Type())
	}
	if err := f.Value.Set(text); err != nil {
		return fmt.Errorf("setting %s: %q is not a %s", key, text, f.Value.Type())
	}
	return nil
}

func names(set *pflag.FlagSet, except []string) []string {
	var list []string
	set.VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(except, f.Name) {
			list = append(list, f.Name)
		}
	})
	return list
}
