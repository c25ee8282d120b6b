package sysfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// list returns the sorted names in a directory.
func list(dir string) ([]string, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// page is the most that sysfs gives of an attribute.
const page = 4096

// text reads an attribute, given below the root, without the white space around it. It does not wait if that is not a plain file.
func (t *Tree) text(name string) (string, error) {
	var buf [page]byte
	fd, err := retry(func() (int, error) {
		return syscall.Open(filepath.Join(t.root, name), syscall.O_RDONLY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	})
	if err != nil {
		return "", err
	}
	n, err := retry(func() (int, error) { return syscall.Read(fd, buf[:]) })
	if closed := syscall.Close(fd); err == nil {
		err = closed
	}
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(buf[:n])), nil
}

func retry(call func() (int, error)) (int, error) {
	for {
		n, err := call()
		if !errors.Is(err, syscall.EINTR) {
			return n, err
		}
	}
}

// reason returns what is wrong with a file without its name.
func reason(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

func missing(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// number reads a decimal attribute.
func (t *Tree) number(name string) (int, error) {
	s, err := t.text(name)
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	return n, nil
}

// target returns the last part of where a link points, or an empty text if there is no such link.
func (t *Tree) target(name string) string {
	to, err := os.Readlink(filepath.Join(t.root, name))
	if err != nil {
		return ""
	}
	return filepath.Base(to)
}

// inode returns the number of a file as text, or an empty text. In sysfs a number is not used twice.
func (t *Tree) inode(name string) string {
	var st syscall.Stat_t
	if err := syscall.Stat(filepath.Join(t.root, name), &st); err != nil {
		return ""
	}
	return strconv.FormatUint(st.Ino, 10)
}
