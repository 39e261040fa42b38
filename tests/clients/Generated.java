// The annotation that generated Java has on each class. It was Java's own until version 8; since then another package
// brings it.
package javax.annotation;

public @interface Generated {
  String[] value();

  String comments() default "";

  String date() default "";
}
