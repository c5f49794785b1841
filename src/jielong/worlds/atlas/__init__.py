"""A small world of real countries, told in English and in Chinese.

Facts from public tables, sentences of our own: texts to pretrain on (`articles`), conversations to be instructed by
(`lessons`), countries that do not exist (`names`), and a scorer that knows what is right (`gold`).
"""
