package rest

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Versions is a scheme of microversions (OpenStack API special interest group, "Microversion Specification"). A client names MAJOR.MINOR or
// "latest" in OpenStack-API-Version behind the service's name, or in the service's own older header; the former wins.
type Versions struct {
	Service string // in OpenStack-API-Version: "baremetal"
	Header  string // the service's own header: "X-OpenStack-Ironic-API-Version"

	MinHeader, MaxHeader string // headers of answers that carry the range, or ""
	Standard             bool   // answers carry OpenStack-API-Version and Vary too

	Major    int
	Min, Max int // minor
	Default  int // minor, for a client that names none
}

// Change is a microversion and what it brought, in one sentence.
type Change struct {
	Minor int
	Text  string
}

// Format returns a minor version as clients write it: "1.83".
func (v *Versions) Format(minor int) string { return fmt.Sprintf("%d.%d", v.Major, minor) }

const standardHeader = "Openstack-Api-Version"

// negotiate returns the minor version in force.
func (v *Versions) negotiate(h http.Header) (int, error) {
	asked := h.Get(v.Header)
	for _, line := range h[standardHeader] {
		for _, part := range strings.Split(line, ",") {
			service, version, ok := strings.Cut(strings.TrimSpace(part), " ")
			if ok && strings.EqualFold(service, v.Service) {
				asked = strings.TrimSpace(version)
			}
		}
	}
	if asked == "" {
		return v.Default, nil
	}
	if strings.EqualFold(asked, "latest") {
		return v.Max, nil
	}
	major, minor, ok := parseVersion(asked)
	switch {
	case !ok:
		return 0, v.reject("Invalid value for %s header", v.Header)
	case major != v.Major:
		return 0, v.reject("Mutually exclusive versions requested. Version %s requested but not supported by this service. "+
			"The supported version range is: [%s, %s].", asked, v.Format(v.Min), v.Format(v.Max))
	case minor < v.Min || minor > v.Max:
		return 0, v.reject("Version %s was requested but the minor version is not supported by this service. "+
			"The supported version range is: [%s, %s].", asked, v.Format(v.Min), v.Format(v.Max))
	}
	return minor, nil
}

func parseVersion(s string) (major, minor int, ok bool) {
	a, b, found := strings.Cut(s, ".")
	major, errA := strconv.Atoi(a)
	minor, errB := strconv.Atoi(b)
	return major, minor, found && errA == nil && errB == nil && major >= 0 && minor >= 0 && len(s) <= 16
}

func (v *Versions) reject(format string, args ...any) *Failure {
	f := routing(http.StatusNotAcceptable)
	f.Text, f.Header = fmt.Sprintf(format, args...), http.Header{}
	v.bounds(f.Header)
	return f
}

func (v *Versions) bounds(h http.Header) {
	if v.MinHeader != "" {
		h.Set(v.MinHeader, v.Format(v.Min))
		h.Set(v.MaxHeader, v.Format(v.Max))
	}
}

// answer puts the version in force into the headers of an answer.
func (v *Versions) answer(h http.Header, minor int) {
	v.bounds(h)
	h.Set(v.Header, v.Format(minor))
	if v.Standard {
		h.Set(standardHeader, v.Service+" "+v.Format(minor))
		h.Add("Vary", standardHeader)
		h.Add("Vary", v.Header)
	}
}
