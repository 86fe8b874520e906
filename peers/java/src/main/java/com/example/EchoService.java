package com.example;

import java.util.Date;
import java.util.List;
import java.util.Map;

/** The service that both sides offer and call. */
public interface EchoService {
    String hello(String name);

    String join(String s, long n, byte[] b, boolean ok, double f, List<String> list);

    Map<String, String> echoMap(Map<String, String> m);

    List<Object> echoList(List<Object> l);

    List<String> strings(List<String> l);

    byte[] bytes(byte[] b);

    boolean bool(boolean v);

    int int32(int v);

    long int64(long v);

    double f64(double v);

    void nothing();

    String fail(String name);

    Date date(Date v);

    Day day(Day d);

    User befriend(User u);
}
