package com.example;

import java.io.Serializable;
import java.math.BigDecimal;
import java.util.Date;
import java.util.List;
import java.util.Map;

/** A bean, which only hessian2 carries. */
public class User implements Serializable {
    private long id;
    private String name;
    private int age;
    private Date born;
    private byte[] photo;
    private List<String> tags;
    private Map<String, Integer> counts;
    private BigDecimal money;
    private List<User> friends;
    private User best;

    public long getId() { return id; }
    public void setId(long id) { this.id = id; }
    public String getName() { return name; }
    public void setName(String name) { this.name = name; }
    public int getAge() { return age; }
    public void setAge(int age) { this.age = age; }
    public Date getBorn() { return born; }
    public void setBorn(Date born) { this.born = born; }
    public byte[] getPhoto() { return photo; }
    public void setPhoto(byte[] photo) { this.photo = photo; }
    public List<String> getTags() { return tags; }
    public void setTags(List<String> tags) { this.tags = tags; }
    public Map<String, Integer> getCounts() { return counts; }
    public void setCounts(Map<String, Integer> counts) { this.counts = counts; }
    public BigDecimal getMoney() { return money; }
    public void setMoney(BigDecimal money) { this.money = money; }
    public List<User> getFriends() { return friends; }
    public void setFriends(List<User> friends) { this.friends = friends; }
    public User getBest() { return best; }
    public void setBest(User best) { this.best = best; }
}
