package zkregistry

import (
	"strings"
	"testing"

	"github.com/heddle-go/heddle/motan"
)

func TestNodes(t *testing.T) {
	const goNode = "motan2://10.0.0.1:8100/com.example.EchoService?group=demo-rpc&application=srv&nodeType=service&serialization=simple&version=1.0"
	const javaNode = "motan2://10.0.0.1:8100/com.example.EchoService?module=motan&nodeType=service&version=1.0&group=demo-rpc&export=demo%3A8100&"
	want := node{protocol: "motan2", addr: "10.0.0.1:8100", service: "com.example.EchoService", group: "demo-rpc", version: "1.0", kind: "service"}
	byName := node{protocol: "motan2", addr: "10.0.0.9:81", kind: "service"}
	long := append([]byte("\xac\xed\x00\x05|\x00\x00\x00\x00\x00\x00\x00"), byte(len(goNode)))
	for name, tc := range map[string]struct {
		content []byte
		want    node
	}{
		"motan-go":                 {[]byte(goNode), want},
		"Java, registry zk":        {[]byte(javaNode), want},
		"Java, registry zookeeper": {java(javaNode), want},
		"Java, long string":        {append(long, goNode...), want},
		"empty":                    {nil, byName},
		"Java, cut":                {java(javaNode)[:40], byName},
		"Java, an object":          {[]byte("\xac\xed\x00\x05sr\x00"), byName},
		"Java, nothing":            {[]byte("\xac\xed\x00\x05"), byName},
		"no URL":                   {[]byte("hello"), byName},
		"no port":                  {[]byte("motan2://10.0.0.1/x?group=y"), byName},
		"no number":                {[]byte("motan2://10.0.0.1:http/x"), byName},
	} {
		if got, err := parseNode("10.0.0.9:81", tc.content); err != nil || got != tc.want {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	if n, err := parseNode("10.0.0.9", nil); err != nil || n.addr != "10.0.0.9:80" {
		t.Errorf("a name without a port: %+v, %v", n, err)
	}
	for _, name := range []string{"", "a:b:c", ":80"} {
		if n, err := parseNode(name, nil); err == nil {
			t.Errorf("name %q: %+v", name, n)
		}
	}
	if _, err := parseNode("10.0.0.9:81", make([]byte, maxNode+1)); err == nil {
		t.Error("a node of 64 KiB and more")
	}
	// What we write, we read.
	o := motan.Offer{Service: "com.example.S", Group: "a b&c", Version: "2.0", Endpoint: motan.Endpoint{Addr: "[::1]:9", Weight: 70}}
	n, err := parseNode("x", []byte(formatNode(o, "shop & co")))
	if err != nil || n != (node{"motan2", "[::1]:9", "com.example.S", "a b&c", "2.0", "service", 70}) {
		t.Errorf("%+v, %v", n, err)
	}
	for url, fits := range map[string]bool{
		goNode: true, javaNode: true,
		"motan2://1.1.1.1:1/com.example.EchoService":                                      true,
		"motan://1.1.1.1:1/com.example.EchoService?nodeType=service":                      false,
		"motan2://1.1.1.1:1/com.example.Other?nodeType=service":                           false,
		"motan2://1.1.1.1:1/com.example.EchoService?nodeType=referer":                     false,
		"motan2://1.1.1.1:1/com.example.EchoService?nodeType=service&version=2.0":         false,
		"motan2://1.1.1.1:1/com.example.EchoService?nodeType=service&version=0.1&weight=": true,
	} {
		n, err := parseURL(url)
		if err != nil || n.fits("com.example.EchoService", "1.0") != fits {
			t.Errorf("%s: %+v, %v, want %v", url, n, err, fits)
		}
	}
}

func FuzzNode(f *testing.F) {
	f.Add("10.0.0.1:80", []byte("motan2://10.0.0.1:8100/x?group=g&weight=3&"))
	f.Add("x", java("motan2://[::1]:1/y"))
	f.Add("", []byte("\xac\xed\x00\x05|\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, name string, content []byte) {
		n, err := parseNode(name, content)
		if err == nil && (n.addr == "" || !strings.Contains(n.addr, ":")) {
			t.Errorf("%q %q: %+v", name, content, n)
		}
	})
}
