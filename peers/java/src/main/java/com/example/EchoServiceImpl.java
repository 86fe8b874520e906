package com.example;

import com.weibo.api.motan.exception.MotanBizException;
import com.weibo.api.motan.exception.MotanErrorMsg;
import java.util.Collections;
import java.util.Date;
import java.util.List;
import java.util.Locale;
import java.util.Map;

public class EchoServiceImpl implements EchoService {
    public String hello(String name) {
        return "hello " + name;
    }

    public String join(String s, long n, byte[] b, boolean ok, double f, List<String> list) {
        StringBuilder hex = new StringBuilder();
        for (byte x : b) {
            hex.append(String.format(Locale.ROOT, "%02x", x));
        }
        return s + "|" + n + "|" + hex + "|" + ok + "|" + f + "|" + String.join(",", list);
    }

    public Map<String, String> echoMap(Map<String, String> m) { return m; }
    public List<Object> echoList(List<Object> l) { return l; }
    public List<String> strings(List<String> l) { return l; }
    public byte[] bytes(byte[] b) { return b; }
    public boolean bool(boolean v) { return v; }
    public int int32(int v) { return v; }
    public long int64(long v) { return v; }
    public double f64(double v) { return v; }
    public Date date(Date v) { return v; }
    public Day day(Day d) { return d; }
    public void nothing() {}

    public String fail(String name) {
        throw new MotanBizException("no " + name, new MotanErrorMsg(503, 20101, "no " + name));
    }

    /** The friend has the user twice, as the only friend and as the best one. */
    public User befriend(User u) {
        User friend = new User();
        friend.setId(u.getId() + 1);
        friend.setName("friend of " + u.getName());
        friend.setAge(u.getAge());
        friend.setBorn(u.getBorn());
        friend.setPhoto(u.getPhoto());
        friend.setTags(u.getTags());
        friend.setCounts(u.getCounts());
        friend.setMoney(u.getMoney());
        friend.setFriends(Collections.singletonList(u));
        friend.setBest(u);
        return friend;
    }
}
