package com.example;

import java.io.Serializable;
import java.util.Date;
import java.util.List;
import java.util.Map;

/** A bean of dates, which hessian2 and fastjson carry. */
public class Day implements Serializable {
    private String name;
    private Date at;
    private Date never;
    private List<Date> more;
    private Map<String, Date> named;

    public String getName() { return name; }
    public void setName(String name) { this.name = name; }
    public Date getAt() { return at; }
    public void setAt(Date at) { this.at = at; }
    public Date getNever() { return never; }
    public void setNever(Date never) { this.never = never; }
    public List<Date> getMore() { return more; }
    public void setMore(List<Date> more) { this.more = more; }
    public Map<String, Date> getNamed() { return named; }
    public void setNamed(Map<String, Date> named) { this.named = named; }
}
