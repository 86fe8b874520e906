package web

import "fmt"

type timeline struct {
	Statuses   []tweet `json:"statuses"`
	NextCursor int64   `json:"next_cursor"`
}

type tweet struct {
	CreatedAt     string  `json:"created_at"`
	ID            int64   `json:"id"`
	IDStr         string  `json:"idstr"`
	Text          string  `json:"text"`
	Source        string  `json:"source"`
	Favorited     bool    `json:"favorited"`
	RepostsCount  int     `json:"reposts_count"`
	CommentsCount int     `json:"comments_count"`
	User          tweeter `json:"user"`
}

type tweeter struct {
	ID          int64  `json:"id"`
	ScreenName  string `json:"screen_name"`
	Name        string `json:"name"`
	Province    int    `json:"province"`
	City        int    `json:"city"`
	Location    string `json:"location"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Followers   int    `json:"followers_count"`
}

// theTimeline is about 22 KB of JSON.
var theTimeline = func() *timeline {
	t := &timeline{NextCursor: 5}
	for i := range 40 {
		t.Statuses = append(t.Statuses, tweet{
			CreatedAt: "Tue May 31 17:46:55 +0800 2011", ID: 11488058246 + int64(i), IDStr: fmt.Sprint(11488058246 + i),
			Text:   "求关注。A status with some text, a link http://t.cn/abc & \"quotes\" in it, as long as they are.",
			Source: `<a href="http://weibo.com" rel="nofollow">新浪微博</a>`, Favorited: i%2 == 0, RepostsCount: i, CommentsCount: 2 * i,
			User: tweeter{ID: 1404376560, ScreenName: "zaku", Name: "zaku", Province: 11, City: 5, Location: "北京 朝阳区",
				Description: "人生五十年，乃如梦如幻；有生斯有死，壮士复何憾。", URL: "http://blog.sina.com.cn/zaku", Followers: 1204},
		})
	}
	return t
}()
