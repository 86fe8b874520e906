//go:build unix

package main

import (
	"bytes"
	"fmt"
	"image"
	"image/color/palette"
	"image/png"
	"strconv"
	"strings"
)

// firstUser and postsPerUser spread the posts over users who each stay under
// the feed's limit of posts an hour.
const (
	firstUser    = 1_000_000
	postsPerUser = 200
)

// greetings are what people post at midnight; a post is one of them, a few
// words more, and its number.
var greetings = [...]string{
	"新年快乐！祝大家马年吉祥，万事如意",
	"Happy New Year! 2014, here we come",
	"倒计时 5 4 3 2 1 —— 新年快乐🎆🎆🎆",
	"零点整，第一条微博，留个纪念",
	"Bonne année à tous & à toutes <3 \"2014\"",
	"あけましておめでとうございます。今年もよろしくお願いします",
	"爸妈新年好！身体健康，天天开心 ❤",
	"С Новым годом! 100% счастья + здоровья",
}

var words = strings.Fields("愿 所有 的 努力 都 不会 白费 新 一年 平安 喜乐 加油 we will be fine this year is ours 转发 祝福 给 每 一个 朋友 放 烟花 了 hello world")

// textOf makes post number n; the same n always gives the same text, so that
// a check needs no copy of what was posted.
func textOf(n int) string {
	var b strings.Builder
	b.Grow(256)
	b.WriteString(greetings[n%len(greetings)])
	x := uint64(n)*0x9E3779B97F4A7C15 + 1
	for range 4 + n%13 {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		b.WriteByte(' ')
		b.WriteString(words[x%uint64(len(words))])
	}
	b.WriteString(" #")
	b.WriteString(strconv.Itoa(n))
	return b.String()
}

// numberOf is the inverse: which post a text claims to be.
func numberOf(text string) (int, error) {
	i := strings.LastIndexByte(text, '#')
	n, err := strconv.Atoi(text[i+1:])
	if i < 0 || err != nil || n < 0 {
		return 0, fmt.Errorf("text %.40q carries no post number", text)
	}
	return n, nil
}

// pictureEvery: one post in so many carries a picture.
const pictureEvery = 1000

// pictureOf draws the picture of post n, nil for most posts.
func pictureOf(n int) []byte {
	if n%pictureEvery != 0 {
		return nil
	}
	img := image.NewPaletted(image.Rect(0, 0, 64, 64), palette.Plan9)
	x := uint64(n)*0x9E3779B97F4A7C15 + 1
	for i := range img.Pix {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		img.Pix[i] = byte(x)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, img); err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}

// users is how many users posts are spread over, in turn.
func users(posts int) int { return (posts + postsPerUser - 1) / postsPerUser }
