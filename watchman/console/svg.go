package console

import (
	"fmt"
	"html/template"
	"math"
	"slices"
	"strings"
	"time"
)

// The charts are SVG made here: numbers through fmt, text through
// template.HTMLEscapeString, nothing else.

const (
	chartWidth  = 640
	chartHeight = 140
	chartLeft   = 56
	chartBottom = 20
	chartTop    = 10
)

type line struct {
	class  string
	label  string
	values []float64
}

// lines draws lines over the same times.
func lines(label string, format func(float64) string, times []int64, list ...line) template.HTML {
	top := 0.0
	for _, l := range list {
		for _, v := range l.values {
			top = max(top, v)
		}
	}
	if top == 0 {
		top = 1
	}
	top *= 1.1
	var b strings.Builder
	var names []string
	for _, l := range list {
		names = append(names, l.label)
	}
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="%s: %s">`, chartWidth, chartHeight,
		template.HTMLEscapeString(label), template.HTMLEscapeString(strings.Join(names, ", ")))
	plotH, plotW := float64(chartHeight-chartBottom-chartTop), float64(chartWidth-chartLeft-6)
	for i := range 3 {
		y := chartTop + plotH*float64(i)/2
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text class="tick" text-anchor="end" x="%d" y="%.1f">%s</text>`,
			chartLeft, chartWidth-6, y, y, chartLeft-6, y+4, template.HTMLEscapeString(format(top*(1-float64(i)/2))))
	}
	n := len(times)
	x := func(i int) float64 { return chartLeft + plotW*float64(i)/math.Max(float64(n-1), 1) }
	for k := range 4 {
		if n < 2 {
			break
		}
		i := k * (n - 1) / 3
		anchor := []string{"start", "middle", "middle", "end"}[k]
		fmt.Fprintf(&b, `<text class="tick" text-anchor="%s" x="%.1f" y="%d">%s</text>`, anchor, x(i), chartHeight-4, time.Unix(times[i], 0).Format("15:04:05"))
	}
	for _, l := range list {
		fmt.Fprintf(&b, `<polyline class="%s" points="`, l.class)
		for i, v := range l.values {
			fmt.Fprintf(&b, "%.1f,%.1f ", x(i), chartTop+plotH*(1-v/top))
		}
		b.WriteString(`"/>`)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// spark is a small line without scales.
func spark(values []float64) template.HTML {
	const w, h = 120.0, 24.0
	if len(values) > 60 {
		values = values[len(values)-60:]
	}
	top := slices.Max(append([]float64{0}, values...))
	if top == 0 || len(values) < 2 {
		return `<svg class="spark" viewBox="0 0 120 24" aria-hidden="true"></svg>`
	}
	var b strings.Builder
	b.WriteString(`<svg class="spark" viewBox="0 0 120 24" aria-hidden="true"><polyline class="rate" points="`)
	for i, v := range values {
		fmt.Fprintf(&b, "%.1f,%.1f ", w*float64(i)/float64(len(values)-1), 1+(h-2)*(1-v/top))
	}
	b.WriteString(`"/></svg>`)
	return template.HTML(b.String())
}

// heat draws how many calls took how long over time.
func heat(points []point) template.HTML {
	lowest, highest, top := heatRows, -1, 0.0
	for i := range points {
		for row, n := range points[i].heat {
			if n > 0 {
				lowest, highest = min(lowest, row), max(highest, row)
				top = max(top, float64(n))
			}
		}
	}
	if highest < 0 {
		return ""
	}
	rows := highest - lowest + 1
	const rowHeight = 14
	height := chartTop + rows*rowHeight + chartBottom
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="chart" viewBox="0 0 %d %d" role="img" aria-label="Durations over time">`, chartWidth, height)
	width := float64(chartWidth-chartLeft-6) / float64(len(points))
	for row := lowest; row <= highest; row++ {
		y := chartTop + (highest-row)*rowHeight
		fmt.Fprintf(&b, `<text class="tick row" text-anchor="end" x="%d" y="%d">≤ %s</text>`, chartLeft-6, y+11, duration(time.Duration(1)<<(row+heatFirst)))
		for i := range points {
			if n := points[i].heat[row]; n > 0 {
				fmt.Fprintf(&b, `<rect class="heat" x="%.1f" y="%d" width="%.1f" height="%d" fill-opacity="%.2f"/>`,
					chartLeft+width*float64(i), y, width+0.3, rowHeight-1, 0.12+0.88*math.Log1p(float64(n))/math.Log1p(top))
			}
		}
	}
	fmt.Fprintf(&b, `<text class="tick" x="%d" y="%d">%s</text><text class="tick" text-anchor="end" x="%d" y="%d">%s</text></svg>`,
		chartLeft, height-4, time.Unix(points[0].at, 0).Format("15:04:05"), chartWidth-6, height-4, time.Unix(points[len(points)-1].at, 0).Format("15:04:05"))
	return template.HTML(b.String())
}

// duration is short: 1.2 ms.
func duration(d time.Duration) string {
	switch {
	case d == 0:
		return "0"
	case d < time.Millisecond:
		return fmt.Sprintf("%.0f µs", float64(d)/1e3)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f ms", float64(d)/1e6)
	case d < time.Second:
		return fmt.Sprintf("%.0f ms", float64(d)/1e6)
	case d < time.Minute:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%.0f min", d.Minutes())
	default:
		return fmt.Sprintf("%.0f h", d.Hours())
	}
}

func percent(r float64) string {
	switch {
	case r == 0:
		return "0 %"
	case r < 0:
		return fmt.Sprintf("%.0f %%", 100*r)
	case r < 0.001:
		return fmt.Sprintf("%.3f %%", 100*r)
	case r < 0.1:
		return fmt.Sprintf("%.2f %%", 100*r)
	default:
		return fmt.Sprintf("%.1f %%", 100*r)
	}
}

func number(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.1f M", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.1f k", v/1e3)
	case v >= 100 || v == math.Trunc(v):
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func ago(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	if d := time.Since(t); d < 2*time.Second {
		return "now"
	} else {
		return duration(d) + " ago"
	}
}

func size(n any) string {
	var v float64
	switch n := n.(type) {
	case int:
		v = float64(n)
	case int64:
		v = float64(n)
	case uint64:
		v = float64(n)
	}
	switch {
	case v >= 1<<30:
		return fmt.Sprintf("%.1f GiB", v/(1<<30))
	case v >= 1<<20:
		return fmt.Sprintf("%.1f MiB", v/(1<<20))
	default:
		return fmt.Sprintf("%.1f KiB", v/(1<<10))
	}
}

func count(n uint64) string { return number(float64(n)) }

// tone is the class that colours a ratio of errors.
func tone(r float64) string {
	switch {
	case r >= 0.05:
		return "bad"
	case r >= 0.01:
		return "warn"
	default:
		return ""
	}
}

func clip(n int, s string) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

var functions = template.FuncMap{
	"duration": duration, "percent": percent, "number": number, "count": count, "ago": ago, "size": size, "tone": tone, "clip": clip,
	"clock": func(t time.Time) string { return t.Format("15:04:05.000") },
	"title": func(s string) string { return strings.ToUpper(s[:1]) + s[1:] },
	"href": func(name string) string {
		if name == "overview" {
			return "./"
		}
		return name
	},
	"div": func(a, b time.Duration) float64 {
		return 100 * float64(a) / float64(max(b, 1))
	},
	"add":     func(a, b int) int { return a + b },
	"width":   func(r float64) string { return fmt.Sprintf("%.2f%%", 100*min(max(r, 0), 1)) },
	"seconds": func(s int) time.Duration { return time.Duration(s) * time.Second },
}
