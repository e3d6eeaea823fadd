#include "config.h"

#include "ring/aead.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>
#include <sodium.h>

#ifdef HAVE_IPSEC_MB
#include <intel-ipsec-mb.h>
#endif

/* What a library has to do. */
struct library {
    const char *name;
    bool (*begin)(struct aead *, const unsigned char *nonce, const void *bound, size_t bytes);
    bool (*add)(struct aead *, void *out, const void *in, size_t bytes);
    bool (*seal)(struct aead *, unsigned char *tag);
    bool (*verify)(struct aead *, const unsigned char *tag);
};

struct aead {
    const struct library *library;
    EVP_CIPHER_CTX *evp;
    bool sealing;
#ifdef HAVE_IPSEC_MB
    struct gcm_key_data key __attribute__((aligned(64)));
    struct gcm_context_data state __attribute__((aligned(64)));
#endif
};

bool aead_has_aes(void)
{
    return crypto_aead_aes256gcm_is_available() == 1;
}

/* ---- libcrypto ---- */

/* Looked up once: for small messages that is most of the work. */
static EVP_CIPHER *ciphers[2];

static void fetch_ciphers(void)
{
    ciphers[AEAD_CHACHA] = EVP_CIPHER_fetch(NULL, "ChaCha20-Poly1305", NULL);
    ciphers[AEAD_AES] = EVP_CIPHER_fetch(NULL, "AES-256-GCM", NULL);
}

static bool evp_new(struct aead *aead, enum aead_cipher cipher, const unsigned char *key)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (pthread_once(&once, fetch_ciphers) != 0 || ciphers[cipher] == NULL)
        return false;
    aead->evp = EVP_CIPHER_CTX_new();
    return aead->evp != NULL &&
           EVP_CipherInit_ex2(aead->evp, ciphers[cipher], key, NULL, aead->sealing, NULL) == 1;
}

static bool evp_begin(struct aead *aead, const unsigned char *nonce, const void *bound, size_t bytes)
{
    int done;
    return bytes <= INT_MAX && EVP_CipherInit_ex2(aead->evp, NULL, NULL, nonce, -1, NULL) == 1 &&
           (bytes == 0 || EVP_CipherUpdate(aead->evp, NULL, &done, bound, (int)bytes) == 1);
}

static bool evp_add(struct aead *aead, void *out, const void *in, size_t bytes)
{
    int done;
    return bytes <= INT_MAX && (bytes == 0 || EVP_CipherUpdate(aead->evp, out, &done, in, (int)bytes) == 1);
}

static bool evp_seal(struct aead *aead, unsigned char *tag)
{
    unsigned char none[16];
    int done;
    return EVP_CipherFinal_ex(aead->evp, none, &done) == 1 &&
           EVP_CIPHER_CTX_ctrl(aead->evp, EVP_CTRL_AEAD_GET_TAG, AEAD_TAG, tag) == 1;
}

static bool evp_verify(struct aead *aead, const unsigned char *tag)
{
    unsigned char none[16];
    int done;
    return EVP_CIPHER_CTX_ctrl(aead->evp, EVP_CTRL_AEAD_SET_TAG, AEAD_TAG, (void *)tag) == 1 &&
           EVP_CipherFinal_ex(aead->evp, none, &done) == 1;
}

static const struct library libcrypto = {"libcrypto", evp_begin, evp_add, evp_seal, evp_verify};

/* ---- libIPSec_MB ---- */

#ifdef HAVE_IPSEC_MB

/* The table of its functions for this processor; they keep no state of their own. NULL where libcrypto is as good. */
static IMB_MGR *manager;

static void make_manager(void)
{
    const char *wish = getenv("TREFOIL_AEAD");
    if (wish != NULL && strcmp(wish, "libcrypto") == 0)
        return;
    IMB_MGR *made = alloc_mb_mgr(0);
    IMB_ARCH arch = IMB_ARCH_NONE;
    if (made != NULL)
        init_mb_mgr_auto(made, &arch);
    if (made != NULL && imb_get_errno(made) == 0 && arch >= IMB_ARCH_AVX512 &&
        (made->features & IMB_FEATURE_VAES) != 0)
        manager = made;
    else if (made != NULL)
        free_mb_mgr(made);
}

static bool has_manager(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    return pthread_once(&once, make_manager) == 0 && manager != NULL;
}

static bool imb_begin(struct aead *aead, const unsigned char *nonce, const void *bound, size_t bytes)
{
    memset(&aead->state, 0, sizeof aead->state);
    IMB_AES256_GCM_INIT(manager, &aead->key, &aead->state, nonce, bound, bytes);
    return true;
}

static bool imb_add(struct aead *aead, void *out, const void *in, size_t bytes)
{
    if (bytes != 0 && aead->sealing)
        IMB_AES256_GCM_ENC_UPDATE(manager, &aead->key, &aead->state, out, in, bytes);
    else if (bytes != 0)
        IMB_AES256_GCM_DEC_UPDATE(manager, &aead->key, &aead->state, out, in, bytes);
    return true;
}

static bool imb_seal(struct aead *aead, unsigned char *tag)
{
    IMB_AES256_GCM_ENC_FINALIZE(manager, &aead->key, &aead->state, tag, AEAD_TAG);
    return true;
}

static bool imb_verify(struct aead *aead, const unsigned char *tag)
{
    unsigned char wanted[AEAD_TAG];
    IMB_AES256_GCM_DEC_FINALIZE(manager, &aead->key, &aead->state, wanted, AEAD_TAG);
    const bool equal = sodium_memcmp(wanted, tag, AEAD_TAG) == 0;
    sodium_memzero(wanted, sizeof wanted); /* the right tag of what may be a forgery */
    return equal;
}

static const struct library libipsec_mb = {"libIPSec_MB", imb_begin, imb_add, imb_seal, imb_verify};

#endif

/* ---- one interface ---- */

static const struct library *library_of(enum aead_cipher cipher)
{
#ifdef HAVE_IPSEC_MB
    if (cipher == AEAD_AES && has_manager())
        return &libipsec_mb;
#endif
    (void)cipher;
    return &libcrypto;
}

const char *aead_library(enum aead_cipher cipher)
{
    return library_of(cipher)->name;
}

enum status aead_new(struct aead **out, enum aead_cipher cipher, const unsigned char key[AEAD_KEY],
                     bool sealing)
{
    void *memory = NULL;
    struct aead *aead = NULL;
    *out = NULL;
    bool good = posix_memalign(&memory, 64, sizeof *aead) == 0;
    if (good) {
        aead = memory;
        memset(aead, 0, sizeof *aead);
        aead->library = library_of(cipher);
        aead->sealing = sealing;
#ifdef HAVE_IPSEC_MB
        if (aead->library == &libipsec_mb)
            IMB_AES256_GCM_PRE(manager, key, &aead->key);
        else
#endif
            good = evp_new(aead, cipher, key);
    }
    if (good) {
        *out = aead;
        return STATUS_OK;
    }
    aead_free(&aead);
    return status_fail(STATUS_MEMORY, "a cipher could not be set up: no memory, or libcrypto lacks it");
}

void aead_free(struct aead **aead)
{
    if (*aead == NULL)
        return;
    EVP_CIPHER_CTX_free((*aead)->evp); /* which overwrites the key */
    sodium_memzero(*aead, sizeof **aead);
    free(*aead);
    *aead = NULL;
}

bool aead_begin(struct aead *aead, const unsigned char nonce[AEAD_NONCE], const void *bound, size_t bytes)
{
    if (bound == NULL &&
        bytes != 0) /* which libraries would pass over in silence, and one go on with the message before */
        return false;
    return aead->library->begin(aead, nonce, bound, bytes);
}

bool aead_add(struct aead *aead, void *out, const void *in, size_t bytes)
{
    if (bytes != 0 && (out == NULL || in == NULL))
        return false;
    return aead->library->add(aead, out, in, bytes);
}

bool aead_seal(struct aead *aead, unsigned char tag[AEAD_TAG])
{
    return aead->library->seal(aead, tag);
}

bool aead_verify(struct aead *aead, const unsigned char tag[AEAD_TAG])
{
    return aead->library->verify(aead, tag);
}
