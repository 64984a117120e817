// A library function that is called all the time, with the number of the call.
long steady_call(long number, int (*wait)(unsigned)) {
  if (wait) wait(1000);
  return number * 3;
}
