package com.example;

import com.weibo.api.motan.common.MotanConstants;
import com.weibo.api.motan.config.ProtocolConfig;
import com.weibo.api.motan.config.RefererConfig;
import com.weibo.api.motan.config.RegistryConfig;
import com.weibo.api.motan.config.ServiceConfig;
import com.weibo.api.motan.exception.MotanAbstractException;
import com.weibo.api.motan.util.MotanSwitcherUtil;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Date;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * Does what its standard input says, a command a line, and answers each with lines of which the last is "done".
 *
 * <pre>
 * serve GROUP PORT [ZOOKEEPER]           offers EchoService, and announces it in ZooKeeper
 * call GROUP SERIALIZATION ADDR|zookeeper://ADDR   calls EchoService; a line "bad ..." for each wrong answer
 * </pre>
 */
public class Peer {
    private static int calls;

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            String[] word = line.trim().split(" ");
            try {
                if (word[0].equals("serve")) {
                    serve(word[1], Integer.parseInt(word[2]), word.length > 3 ? word[3] : null);
                } else if (word[0].equals("call")) {
                    call(word[1], word[2], word[3]);
                } else {
                    say("bad command " + line);
                }
            } catch (Throwable t) {
                say("bad " + line + ": " + t);
                t.printStackTrace();
            }
            say("done");
        }
        System.exit(0);
    }

    private static void say(String s) {
        System.out.println(s);
        System.out.flush();
    }

    private static RegistryConfig registry(String zookeeper) {
        RegistryConfig r = new RegistryConfig();
        r.setRegProtocol(zookeeper == null ? "local" : "zookeeper");
        if (zookeeper != null) {
            r.setAddress(zookeeper);
            r.setConnectTimeout(20000);
        }
        return r;
    }

    private static ProtocolConfig protocol(String serialization) {
        ProtocolConfig p = new ProtocolConfig();
        p.setId("motan2");
        p.setName("motan2");
        if (serialization != null) {
            p.setSerialization(serialization);
        }
        return p;
    }

    private static void serve(String group, int port, String zookeeper) {
        ServiceConfig<EchoService> s = new ServiceConfig<EchoService>();
        s.setInterface(EchoService.class);
        s.setRef(new EchoServiceImpl());
        s.setGroup(group);
        s.setVersion("1.0");
        s.setHost("127.0.0.1");
        s.setRegistry(registry(zookeeper));
        s.setProtocol(protocol(null));
        s.setExport("motan2:" + port);
        s.export();
        MotanSwitcherUtil.setSwitcherValue(MotanConstants.REGISTRY_HEARTBEAT_SWITCHER, true);
    }

    private static void check(String what, Object got, Object want) {
        calls++;
        boolean same = got instanceof byte[] ? Arrays.equals((byte[]) got, (byte[]) want) : Objects.equals(got, want);
        if (!same) {
            say("bad " + what + ": " + got + (got == null ? "" : " of " + got.getClass()) + ", want " + want);
        }
    }

    private static void call(String group, String serialization, String addr) {
        calls = 0;
        RefererConfig<EchoService> r = new RefererConfig<EchoService>();
        r.setInterface(EchoService.class);
        r.setGroup(group);
        r.setVersion("1.0");
        r.setApplication("java-client");
        r.setModule("peer");
        r.setRequestTimeout(30000);
        r.setProtocol(protocol(serialization));
        if (addr.startsWith("zookeeper://")) {
            r.setRegistry(registry(addr.substring("zookeeper://".length())));
        } else {
            r.setRegistry(registry(null));
            r.setDirectUrl(addr);
        }
        EchoService echo = r.getRef();
        check("hello", echo.hello("Ray"), "hello Ray");
        check("hello", echo.hello(""), "hello ");
        check("hello", echo.hello("微博 😀"), "hello 微博 😀");
        char[] long_ = new char[70000];
        Arrays.fill(long_, 'é');
        check("long hello", echo.hello(new String(long_)), "hello " + new String(long_));
        check("join", echo.join("a", -300L, new byte[] {(byte) 0xde, (byte) 0xad}, true, 1.5, Arrays.asList("x", "yz")), "a|-300|dead|true|1.5|x,yz");
        Map<String, String> m = new HashMap<String, String>();
        check("empty map", echo.echoMap(new HashMap<String, String>()), m);
        m.put("name", "ray");
        m.put("id", "7");
        check("map", echo.echoMap(m), m);
        List<Object> list = new ArrayList<Object>(Arrays.asList((Object) "s", -1, 1L << 40, true, 1.5));
        if (serialization.equals("breeze")) { // which takes all elements for what the first is
            list = new ArrayList<Object>(Arrays.asList((Object) 1L, 1L << 40));
        } else if (serialization.equals("fastjson")) { // where numbers forget their types
            list = new ArrayList<Object>(Arrays.asList((Object) "s", true));
        }
        check("list", echo.echoList(list), list);
        check("empty list", echo.echoList(new ArrayList<Object>()), new ArrayList<Object>());
        check("strings", echo.strings(new ArrayList<String>(Arrays.asList("x", "yz"))), Arrays.asList("x", "yz"));
        check("bytes", echo.bytes(new byte[] {1, 2, (byte) 200}), new byte[] {1, 2, (byte) 200});
        check("true", echo.bool(true), true);
        check("false", echo.bool(false), false);
        for (int i : new int[] {0, 7, -70000, Integer.MIN_VALUE, Integer.MAX_VALUE}) {
            check("int32", echo.int32(i), i);
        }
        for (long i : new long[] {0, -300, 1L << 40, Long.MIN_VALUE, Long.MAX_VALUE}) {
            check("int64", echo.int64(i), i);
        }
        for (double d : new double[] {0, -0.25, 1e300}) {
            check("f64", echo.f64(d), d);
        }
        dates(echo, serialization);
        echo.nothing();
        calls++;
        try {
            check("fail", echo.fail("x"), "an exception");
        } catch (MotanAbstractException e) {
            // A business exception without a Java object becomes this one, whose message has the other's.
            check("exception " + e.getMessage(), e.getMessage().contains("no x") && e.getMessage().contains("error_code: 20101"), true);
        }
        if (serialization.equals("hessian2")) {
            beans(echo);
        }
        r.destroy();
        say("calls " + calls);
    }

    private static void dates(EchoService echo, String serialization) {
        if (serialization.equals("simple")) { // which has no dates
            try {
                check("date", echo.date(new Date(7)), "an exception");
            } catch (MotanAbstractException e) {
                check("exception " + e.getMessage(), e.getMessage().contains("unsupported type: class java.util.Date"), true);
            }
            return;
        }
        for (long ms : new long[] {0, 1388505600123L, -1, 253402214400999L}) {
            check("date", echo.date(new Date(ms)), new Date(ms));
        }
        List<Object> list = new ArrayList<Object>(Arrays.asList((Object) new Date(7), new Date(-1)));
        List<Object> back = echo.echoList(list);
        if (serialization.equals("fastjson")) { // where an Object that was a date becomes text
            check("dates in a list", back, Arrays.asList("1970-01-01T00:00:00.007Z", "1969-12-31T23:59:59.999Z"));
        } else {
            check("dates in a list", back, list);
            check("no date", echo.date(null), null);
        }
        if (serialization.equals("breeze")) { // which knows beans by their schema only
            return;
        }
        Day d = new Day();
        d.setName("new year");
        d.setAt(new Date(1388505600123L));
        d.setMore(new ArrayList<Date>(Arrays.asList(new Date(0), new Date(-1))));
        d.setNamed(new HashMap<String, Date>(Collections.singletonMap("k", new Date(7))));
        Day got = echo.day(d);
        check("day's name", got.getName(), d.getName());
        check("day's date", got.getAt(), d.getAt());
        check("day's dates", got.getMore(), d.getMore());
        check("day's named dates", got.getNamed(), d.getNamed());
        check("what is no date", got.getNever(), null);
    }

    private static void beans(EchoService echo) {
        User u = new User();
        u.setId(7);
        u.setName("ray");
        u.setAge(30);
        u.setBorn(new Date(1388505600123L));
        u.setPhoto(new byte[] {(byte) 0xde, (byte) 0xad});
        u.setTags(new ArrayList<String>(Arrays.asList("x", "yz")));
        u.setCounts(new HashMap<String, Integer>(Collections.singletonMap("k", 1)));
        u.setMoney(new BigDecimal("9.99"));
        User f = echo.befriend(u);
        check("bean's id", f.getId(), 8L);
        check("bean's name", f.getName(), "friend of ray");
        check("bean's age", f.getAge(), 30);
        check("bean's date", f.getBorn(), u.getBorn());
        check("bean's bytes", f.getPhoto(), u.getPhoto());
        check("bean's list", f.getTags(), u.getTags());
        check("bean's map", f.getCounts(), u.getCounts());
        check("bean's decimal", f.getMoney(), u.getMoney());
        check("bean's beans", f.getFriends().size(), 1);
        check("bean in a bean", f.getBest().getName(), "ray");
        check("one bean twice", f.getFriends().get(0) == f.getBest(), true);
    }
}
