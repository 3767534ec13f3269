"""Vaults: backups in which nothing is stored twice, proved each night, in the format of the program that keeps them."""
