/*
 * A stand-in for libcups.so.3, for tests.
 *
 * Debian 12 has ippserver, the PWG's own sample of an infrastructure printer and system service (package ippsample), but not the
 * libcups.so.3 that it is linked with. This library gives it what it calls, on top of Debian's libcups.so.2: a function whose
 * calling convention has not changed between the two is jumped to, one that was renamed, retyped or renumbered is written here.
 * Only what ippserver needs is here, and ATTR lines of its configuration are refused. For x86-64.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/types.h>
#include <time.h>

/* ---- what is the same in both: a jump through a pointer that the constructor fills ---- */
#define FORWARDED(F) \
  F(cupsAddOption) F(cupsArrayAdd) F(cupsArrayDelete) F(cupsArrayDup) F(cupsArrayFind) F(cupsArrayRemove) F(cupsConnectDest) \
  F(cupsDirClose) F(cupsDirOpen) F(cupsDirRead) F(cupsDoRequest) F(cupsEncodeOption) F(cupsFileClose) F(cupsFileGetConf) \
  F(cupsFileOpen) F(cupsFilePrintf) F(cupsFilePutChar) F(cupsFilePutConf) F(cupsFilePuts) F(cupsFreeDests) F(cupsFreeOptions) \
  F(cupsGetDestWithURI) F(cupsGetOption) F(cupsGetResponse) F(cupsHashData) F(cupsLastError) F(cupsLastErrorString) \
  F(cupsParseOptions) F(cupsReadResponseData) F(cupsSendRequest) F(cupsSetPasswordCB) F(cupsSetServerCredentials) F(cupsSetUser) \
  F(cupsWriteRequestData) F(httpAcceptConnection) F(httpAddrConnect) F(httpAddrFreeList) F(httpAddrGetList) F(httpAddrListen) \
  F(httpAddrString) F(httpAssembleURI) F(httpAssembleURIf) F(httpAssembleUUID) F(httpClearFields) F(httpClose) F(httpEncryption) \
  F(httpError) F(httpFlush) F(httpFlushWrite) F(httpGet) F(httpGetContentEncoding) F(httpGetExpect) F(httpGetFd) \
  F(httpGetHostname) F(httpGetVersion) F(httpIsEncrypted) F(httpPeek) F(httpPrintf) F(httpReconnect) F(httpSeparateURI) \
  F(httpSetLength) F(httpURIStatusString) F(httpUpdate) F(httpWait) F(httpWriteResponse) F(ippAddBoolean) F(ippAddCollection) \
  F(ippAddCollections) F(ippAddDate) F(ippAddInteger) F(ippAddIntegers) F(ippAddOctetString) F(ippAddOutOfBand) F(ippAddRange) \
  F(ippAddResolution) F(ippAddResolutions) F(ippAddSeparator) F(ippAddString) F(ippAddStringfv) F(ippAddStrings) \
  F(ippAttributeString) F(ippContainsInteger) F(ippContainsString) F(ippCopyAttribute) F(ippCopyAttributes) \
  F(ippCreateRequestedArray) F(ippDateToTime) F(ippDelete) F(ippDeleteAttribute) F(ippDeleteValues) F(ippEnumString) \
  F(ippErrorString) F(ippFindAttribute) F(ippFirstAttribute) F(ippGetBoolean) F(ippGetCollection) F(ippGetCount) F(ippGetDate) \
  F(ippGetGroupTag) F(ippGetInteger) F(ippGetName) F(ippGetOperation) F(ippGetRange) F(ippGetRequestId) F(ippGetResolution) \
  F(ippGetStatusCode) F(ippGetString) F(ippGetValueTag) F(ippGetVersion) F(ippLength) F(ippNew) F(ippNewRequest) \
  F(ippNewResponse) F(ippNextAttribute) F(ippOpString) F(ippRead) F(ippReadFile) F(ippSetBoolean) F(ippSetCollection) \
  F(ippSetDate) F(ippSetGroupTag) F(ippSetInteger) F(ippSetOctetString) F(ippSetRange) F(ippSetResolution) F(ippSetState) \
  F(ippSetStatusCode) F(ippSetString) F(ippSetStringfv) F(ippTagString) F(ippTimeToDate) F(ippValidateAttribute) F(ippWrite) \
  F(pwgMediaForPWG)

#define STUB(name)                                                                                   \
  __attribute__((visibility("hidden"))) void *to_##name;                                             \
  __asm__(".text\n.globl " #name "\n.type " #name ",@function\n" #name ":\n\tjmp *to_" #name "(%rip)\n");
FORWARDED(STUB)

/* Loaded with RTLD_DEEPBIND, so that its own calls of itself never come here. */
static void *lib2;

static void *sym2(const char *name)
{
  void *p = dlsym(lib2, name);
  if (!p) { fprintf(stderr, "libcups3: libcups.so.2 lacks %s\n", name); abort(); }
  return p;
}

__attribute__((constructor)) static void load(void)
{
  if (!(lib2 = dlopen("libcups.so.2", RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND))) { fprintf(stderr, "libcups3: %s\n", dlerror()); abort(); }
#define FILL(name) to_##name = sym2(#name);
  FORWARDED(FILL)
}

#define REAL(name, type) (((type)sym2(name)))

/* ---- arrays ---- */
size_t cupsArrayGetCount(void *a) { int n = a ? REAL("cupsArrayCount", int (*)(void *))(a) : 0; return n > 0 ? (size_t)n : 0; }
void *cupsArrayGetElement(void *a, size_t n) { return a ? REAL("cupsArrayIndex", void *(*)(void *, int))(a, (int)n) : NULL; }
void *cupsArrayGetFirst(void *a) { return a ? REAL("cupsArrayFirst", void *(*)(void *))(a) : NULL; }
void *cupsArrayGetNext(void *a) { return a ? REAL("cupsArrayNext", void *(*)(void *))(a) : NULL; }
void *cupsArrayNew(void *f, void *d, void *hf, size_t hs, void *cf, void *ff) { return REAL("cupsArrayNew3", void *(*)(void *, void *, void *, int, void *, void *))(f, d, hf, (int)hs, cf, ff); }

/* ---- strings, user ---- */
size_t cupsCopyString(char *dst, const char *src, size_t size)
{
  size_t len = strlen(src);
  if (size) { size_t n = len < size ? len : size - 1; memmove(dst, src, n); dst[n] = '\0'; }
  return len;
}
const char *cupsGetUser(void) { return REAL("cupsUser", const char *(*)(void))(); }

/* ---- threads ---- */
void cupsMutexLock(pthread_mutex_t *m) { pthread_mutex_lock(m); }
void cupsMutexUnlock(pthread_mutex_t *m) { pthread_mutex_unlock(m); }
void cupsRWInit(pthread_rwlock_t *l) { pthread_rwlock_init(l, NULL); }
void cupsRWDestroy(pthread_rwlock_t *l) { pthread_rwlock_destroy(l); }
void cupsRWLockRead(pthread_rwlock_t *l) { pthread_rwlock_rdlock(l); }
void cupsRWLockWrite(pthread_rwlock_t *l) { pthread_rwlock_wrlock(l); }
void cupsRWUnlock(pthread_rwlock_t *l) { pthread_rwlock_unlock(l); }
void cupsCondBroadcast(pthread_cond_t *c) { pthread_cond_broadcast(c); }
void cupsCondWait(pthread_cond_t *c, pthread_mutex_t *m, double timeout)
{
  if (timeout > 0.0) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    ts.tv_sec += (time_t)timeout;
    ts.tv_nsec += (long)((timeout - (double)(time_t)timeout) * 1e9);
    if (ts.tv_nsec >= 1000000000L) { ts.tv_sec++; ts.tv_nsec -= 1000000000L; }
    pthread_cond_timedwait(c, m, &ts);
  } else
    pthread_cond_wait(c, m);
}
pthread_t cupsThreadCreate(void *(*fn)(void *), void *arg) { pthread_t t; return pthread_create(&t, NULL, fn, arg) ? 0 : t; }
void cupsThreadDetach(pthread_t t) { pthread_detach(t); }
void cupsThreadCancel(pthread_t t) { pthread_cancel(t); }
void *cupsThreadWait(pthread_t t) { void *r = NULL; return pthread_join(t, &r) ? NULL : r; }

/* ---- HTTP ---- */
const char *httpStatusString(int status) { return REAL("httpStatus", const char *(*)(int))(status); }
off_t httpGetLength(void *http) { return REAL("httpGetLength2", off_t (*)(void *))(http); }
ssize_t httpRead(void *http, char *buf, size_t len) { return REAL("httpRead2", ssize_t (*)(void *, char *, size_t))(http, buf, len); }
ssize_t httpWrite(void *http, const char *buf, size_t len) { return REAL("httpWrite2", ssize_t (*)(void *, const char *, size_t))(http, buf, len); }
const char *httpGetDateString(time_t t, char *s, size_t slen) { return REAL("httpGetDateString2", const char *(*)(time_t, char *, int))(t, s, (int)slen); }
char *httpDecode64(char *out, size_t *outlen, const char *in)
{
  int n = (int)*outlen;
  char *r = REAL("httpDecode64_2", char *(*)(char *, int *, const char *))(out, &n, in);
  *outlen = n > 0 ? (size_t)n : 0;
  return r;
}
void *httpConnect(const char *host, int port, void *list, int family, int enc, bool blocking, int msec, int *cancel)
{ return REAL("httpConnect2", void *(*)(const char *, int, void *, int, int, int, int, int *))(host, port, list, family, enc, blocking ? 1 : 0, msec, cancel); }

/* http_field_t was renumbered between libcups 2 and 3; only the fields that matter are mapped (v3 -> v2) */
static int field2(int f)
{
  static const signed char map[][2] = {
    { 2, 27 }, /* ACCEPT_ENCODING */
    { 3, 0 }, /* ACCEPT_LANGUAGE */
    { 4, 1 }, /* ACCEPT_RANGES */
    { 14, 28 }, /* ALLOW */
    { 16, 30 }, /* AUTHENTICATION_INFO */
    { 17, 2 }, /* AUTHORIZATION */
    { 22, 3 }, /* CONNECTION */
    { 24, 4 }, /* CONTENT_ENCODING */
    { 25, 5 }, /* CONTENT_LANGUAGE */
    { 26, 6 }, /* CONTENT_LENGTH */
    { 27, 7 }, /* CONTENT_LOCATION */
    { 28, 9 }, /* CONTENT_RANGE */
    { 31, 10 }, /* CONTENT_TYPE */
    { 38, 12 }, /* DATE */
    { 46, 13 }, /* HOST */
    { 49, 14 }, /* IF_MODIFIED_SINCE */
    { 53, 15 }, /* IF_UNMODIFIED_SINCE */
    { 54, 16 }, /* KEEP_ALIVE */
    { 55, 17 }, /* LAST_MODIFIED */
    { 56, 18 }, /* LINK */
    { 57, 19 }, /* LOCATION */
  };
  for (size_t i = 0; i < sizeof map / sizeof map[0]; i++) if (map[i][0] == f) return map[i][1];
  return -1;
}
const char *httpGetField(void *http, int field)
{
  static const char *(*real)(void *, int);
  if (!real) real = (const char *(*)(void *, int))dlsym(lib2, "httpGetField");
  int f = field2(field);
  const char *v = f < 0 ? NULL : real(http, f);
  return v ? v : "";
}
void httpSetField(void *http, int field, const char *value)
{
  static void (*real)(void *, int, const char *);
  if (!real) real = (void (*)(void *, int, const char *))dlsym(lib2, "httpSetField");
  int f = field2(field);
  if (f >= 0) real(http, f, value);
}

/* http_state_t was renumbered too (v2 -> v3) */
static int state3(int s)
{
  static const signed char map[] = { 0, 15, 6, 7, 8, 16, 17, 18, 25, 26, 4, 27, 1, 29, 30, 31 };
  return (s < 0 || s >= (int)sizeof map) ? -1 : map[s];
}
int httpGetState(void *http)
{
  static int (*real)(void *);
  if (!real) real = (int (*)(void *))dlsym(lib2, "httpGetState");
  return state3(real(http));
}
int httpReadRequest(void *http, char *uri, size_t urilen)
{
  static int (*real)(void *, char *, size_t);
  if (!real) real = (int (*)(void *, char *, size_t))dlsym(lib2, "httpReadRequest");
  return state3(real(http, uri, urilen));
}

/* ---- IPP ---- */
void *ippGetOctetString(void *attr, size_t element, size_t *datalen)
{
  static void *(*real)(void *, int, int *);
  int n = 0;
  if (!real) real = (void *(*)(void *, int, int *))dlsym(lib2, "ippGetOctetString");
  void *p = real(attr, (int)element, &n);
  if (datalen) *datalen = n > 0 ? (size_t)n : 0;
  return p;
}

/* ---- ippFile: a plain "Directive value" reader; ATTR lines and collections are refused ---- */
typedef struct file file_t;
struct file { char name[1024]; FILE *fp; int line; void *attrs; void *cb_data; void *parent; int group; };
typedef bool (*token_cb_t)(file_t *f, void *data, const char *token);

file_t *ippFileNew(void *parent, void *attr_cb, void *error_cb, void *cb_data)
{ (void)attr_cb; (void)error_cb; file_t *f = calloc(1, sizeof *f); if (f) { f->parent = parent; f->cb_data = cb_data; } return f; }
bool ippFileDelete(file_t *f) { if (f) { if (f->fp) fclose(f->fp); free(f); } return true; }
bool ippFileOpen(file_t *f, const char *name, const char *mode)
{ (void)mode; snprintf(f->name, sizeof f->name, "%s", name); f->line = 1; f->fp = fopen(name, "r"); return f->fp != NULL; }
const char *ippFileGetFilename(file_t *f) { return f->name; }
int ippFileGetLineNumber(file_t *f) { return f->line; }
bool ippFileSetVar(file_t *f, const char *n, const char *v) { (void)f; (void)n; (void)v; return true; }
size_t ippFileExpandVars(file_t *f, char *dst, const char *src, size_t size) { (void)f; return cupsCopyString(dst, src, size); }
bool ippFileSetAttributes(file_t *f, void *attrs) { f->attrs = attrs; return true; }
bool ippFileSetGroupTag(file_t *f, int g) { f->group = g; return true; }
void *ippFileReadCollection(file_t *f) { (void)f; return NULL; }
bool ippFileReadToken(file_t *f, char *tok, size_t size)
{
  int ch;
  size_t n = 0;
  while ((ch = getc(f->fp)) != EOF) {
    if (ch == '\n') f->line++;
    else if (ch == '#') { while ((ch = getc(f->fp)) != EOF && ch != '\n') ; f->line++; }
    else if (!isspace(ch)) break;
  }
  if (ch == EOF) return false;
  if (ch == '"' || ch == '\'') {
    int q = ch;
    while ((ch = getc(f->fp)) != EOF && ch != q) if (n + 1 < size) tok[n++] = (char)ch;
  } else {
    do { if (n + 1 < size) tok[n++] = (char)ch; } while ((ch = getc(f->fp)) != EOF && !isspace(ch) && ch != '#');
    if (ch != EOF) ungetc(ch, f->fp);
  }
  tok[n] = '\0';
  return true;
}
bool ippFileRead(file_t *f, token_cb_t cb, bool with_groups)
{
  char tok[2048];
  (void)with_groups;
  while (ippFileReadToken(f, tok, sizeof tok)) {
    if (!strcasecmp(tok, "ATTR")) { fprintf(stderr, "libcups3: ATTR is not supported (%s:%d)\n", f->name, f->line); return false; }
    if (cb && !cb(f, f->cb_data, tok)) return false;
  }
  return true;
}
