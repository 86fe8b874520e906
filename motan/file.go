package motan

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"
)

// File is a Registry read from a file, which may change while it is in use:
//
//	[{"service": "com.example.Users", "group": "default_rpc", "version": "1.0",
//	  "endpoints": [{"addr": "10.0.0.1:8100", "weight": 10}, {"addr": "10.0.0.2:8100"}]}]
//
// Group, version and weight may be left out and mean what they do elsewhere. To
// change the file, write another and rename it. A change that cannot be read, or
// that leaves a service without endpoints, is logged and ignored: what was known
// before stays.
type File struct {
	path string
	opt  FileOptions
}

// FileOptions configures NewFile. The zero value is ready to use.
type FileOptions struct {
	Every  time.Duration // how often the file is looked at; 0 means 1 s
	Logger *slog.Logger  // nil means slog.Default()
}

// NewFile returns a registry that reads path when it is asked.
func NewFile(path string, opts *FileOptions) (*File, error) {
	f := &File{path: path}
	if opts != nil {
		f.opt = *opts
	}
	if f.opt.Every == 0 {
		f.opt.Every = time.Second
	}
	if f.opt.Logger == nil {
		f.opt.Logger = slog.Default()
	}
	if f.opt.Every < 0 {
		return nil, fmt.Errorf("motan: FileOptions.Every %v: negative", f.opt.Every)
	}
	if path == "" {
		return nil, errors.New("motan: no path of a registry file given")
	}
	return f, nil
}

// fileEntry is one service of the file.
type fileEntry struct {
	Service   string `json:"service"`
	Group     string `json:"group"`
	Version   string `json:"version"`
	Endpoints []struct {
		Addr   string `json:"addr"`
		Weight int    `json:"weight"`
	} `json:"endpoints"`
}

// Watch implements Registry. It looks at the file until ctx is done.
func (f *File) Watch(ctx context.Context, service, group, version string, update func([]Endpoint)) error {
	content, err := os.ReadFile(f.path)
	if err != nil {
		return fmt.Errorf("motan: registry file: %w", err)
	}
	list, err := f.read(content, service, group, version)
	if err != nil {
		return err
	}
	update(slices.Clone(list))
	go f.follow(ctx, content, list, service, group, version, update)
	return nil
}

func (f *File) follow(ctx context.Context, content []byte, list []Endpoint, service, group, version string, update func([]Endpoint)) {
	tick := time.NewTicker(f.opt.Every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now, err := os.ReadFile(f.path)
		if err == nil && bytes.Equal(now, content) {
			continue
		}
		var next []Endpoint
		if err == nil {
			content = now
			next, err = f.read(now, service, group, version)
		}
		switch {
		case err != nil:
			f.opt.Logger.Warn("motan: registry file ignored", "path", f.path, "service", service, "error", err)
		case ctx.Err() == nil && !slices.Equal(next, list):
			list = next
			update(slices.Clone(list))
		}
	}
}

// read finds a service in the file's content.
func (f *File) read(content []byte, service, group, version string) ([]Endpoint, error) {
	dec := json.NewDecoder(bytes.NewReader(content))
	dec.DisallowUnknownFields()
	var entries []fileEntry
	if err := dec.Decode(&entries); err != nil {
		return nil, fmt.Errorf("motan: registry file %s: %w", f.path, err)
	}
	var list []Endpoint
	for i, e := range entries {
		if e.Service == "" {
			return nil, fmt.Errorf("motan: registry file %s: entry %d: no service", f.path, i)
		}
		for _, p := range e.Endpoints {
			if err := checkAddr(p.Addr); err != nil {
				return nil, fmt.Errorf("motan: registry file %s: %s: %w", f.path, e.Service, err)
			}
			if e.Service == service && or(e.Group, defaultGroup) == or(group, defaultGroup) && or(e.Version, defaultVersion) == or(version, defaultVersion) {
				list = append(list, Endpoint{Addr: p.Addr, Weight: p.Weight})
			}
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("motan: registry file %s: no endpoint of %s, group %s, version %s", f.path, service, or(group, defaultGroup), or(version, defaultVersion))
	}
	return list, nil
}

const (
	defaultGroup   = "default_rpc"
	defaultVersion = "1.0"
)

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}
