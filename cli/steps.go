package cli

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/riser-project/riser/node"
)

// stepFlags are the steps of a command line: --step starts one, and the flags after it say more of that one.
type stepFlags struct {
	file string
	list []node.Step
}

func (s *stepFlags) register(f *pflag.FlagSet) {
	f.Var(stepFlag{s, "INTERFACE.STEP", s.add}, "step", "run this `step`, such as power.power_on; may be repeated, in their order")
	f.Var(stepFlag{s, "KEY=VALUE", s.argument}, "arg", "argument of the last --step: `KEY=VALUE`, KEY:=JSON, KEY=@FILE")
	f.Var(stepFlag{s, "bool", s.children}, "children", "run the last --step on the child nodes")
	f.Lookup("children").NoOptDefVal = "true"
	f.Var(stepFlag{s, "NODE", s.only}, "only", "run the last --step on this child `node` only; may be repeated")
	f.StringVar(&s.file, "steps", "", "`file` of JSON or YAML with the list of steps, or -")
}

// stepFlag is one of the flags, which act on the list in the order in which they stand.
type stepFlag struct {
	steps *stepFlags
	kind  string
	set   func(string) error
}

// String implements pflag.Value. There is no default to show.
func (f stepFlag) String() string { return "" }

// Set implements pflag.Value.
func (f stepFlag) Set(s string) error { return f.set(s) }

// Type implements pflag.Value.
func (f stepFlag) Type() string { return f.kind }

func (s *stepFlags) add(name string) error {
	of, step, found := strings.Cut(name, ".")
	if !found || step == "" || !slices.Contains(node.StepInterfaces[:], node.Interface(of)) {
		return fmt.Errorf("a step is INTERFACE.STEP, such as power.power_on; the interfaces are %v", node.StepInterfaces)
	}
	s.list = append(s.list, node.Step{Interface: node.Interface(of), Step: step})
	return nil
}

// last returns the step that a flag speaks of.
func (s *stepFlags) last() (*node.Step, error) {
	if len(s.list) == 0 {
		return nil, fmt.Errorf("it speaks of the --step before it, and there is none")
	}
	return &s.list[len(s.list)-1], nil
}

func (s *stepFlags) argument(pair string) error {
	step, err := s.last()
	if err != nil {
		return err
	}
	o, err := readPairs([]string{pair}, "an argument")
	if err != nil {
		return err
	}
	if step.Args == nil {
		step.Args = node.Object{}
	}
	for k, v := range o {
		step.Args[k] = v
	}
	return nil
}

func (s *stepFlags) children(text string) error {
	step, err := s.last()
	if err != nil {
		return err
	}
	on, err := node.ParseBool(text)
	step.OnChildren = on
	return err
}

func (s *stepFlags) only(child string) error {
	step, err := s.last()
	if err != nil {
		return err
	}
	step.OnChildren = true
	step.LimitToChildren = append(step.LimitToChildren, child)
	return nil
}

// read returns the steps that the user gave, by flags or by a file. need names what each step must have besides interface and step.
func (s *stepFlags) read(a *app, need ...string) ([]node.Step, error) {
	switch {
	case s.file != "" && len(s.list) > 0:
		return nil, Usagef("--step and --steps exclude each other")
	case s.file == "":
		return s.list, nil
	}
	raw, err := a.document(s.file, "--steps")
	if err != nil {
		return nil, err
	}
	var wrapped map[string]json.RawMessage
	if json.Unmarshal(raw, &wrapped) == nil && len(wrapped) == 1 { // a whole body, {"clean_steps": [...]}, is fine, too
		for key, list := range wrapped {
			if strings.HasSuffix(key, "steps") {
				raw = list
			}
		}
	}
	steps, faults := node.ParseSteps("steps", raw, need...)
	if len(faults) > 0 {
		return nil, fmt.Errorf("cannot take the steps of %s: %s", s.file, strings.Join(faults, "; "))
	}
	return steps, nil
}
