// The library of churn.c.
int churn_call(int value) { return value + 1; }
